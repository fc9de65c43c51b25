"""The network's figures: make bench-network; python -m tests.bench.network [--minutes 10] [--only N:PARAMETERS ...]

Throughput of a share between two processes, beside TLS 1.3 on the same loopback, in turns (the receiver acknowledges
when it has all of it, with its digest checked); lag of the event loop; whole secure rounds beside the same updates in
the clear.  Writes tests/bench/results/network.json.  A round is begun only while there is time for it; those that are
left out are named in the results, and so is one that did not end.
"""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import json
import os
import platform
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain
from multiprocessing import Pipe
from multiprocessing.connection import Connection as Line
from pathlib import Path
from typing import Any, Final

import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gossip.spec import digest
from gossip.transport import Limits, PeerAddress, peer_id_of
from gossip.transport.host import Transport
from tests.bench.lag import lag_while_training
from tests.bench.rounds import TooSlow, clear_round, secure_round

MIB: Final = 1 << 20
SIZE: Final = 128 * MIB
REPEATS: Final = 7
TLS_PIECE: Final = 256 * 1024
RESULT: Final = Path(__file__).parent / "results" / "network.json"
CELLS: Final = [(n, parameters) for parameters in (100_000, 1_000_000, 10_000_000) for n in (4, 8)]
SHORTEST_SECONDS: Final = 60.0
"""That a consortium needs to start and end a few rounds on two cores."""
NODE_MEGABYTES: Final = 550
BYTES_PER_PARAMETER: Final = 200
"""Of a node's memory at its highest; 160 were measured with ten million of them."""
ALICE, BOB = b"a" * 32, b"b" * 32


class Nowhere:
    """A sink that keeps nothing, so that the transport alone is measured."""

    def write(self, piece: bytes) -> None: ...

    def take(self) -> bytes:
        return b""

    def discard(self) -> None: ...


class Receiver:
    """Handlers that take everything."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None

    def open_sink(self, size: int) -> Nowhere:
        return Nowhere()

    async def on_payload(self, *_: object) -> None: ...


def certificate(folder: Path) -> Path:
    """A self-signed certificate of 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime(2020, 1, 1)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(today).not_valid_after(today + datetime.timedelta(36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + built.public_bytes(serialization.Encoding.PEM))
    return path


async def receive(pem: Path, line: Line) -> None:
    """The receiving process: a node, and a TLS server that counts and says when it has everything."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    async def count(stream: trio.SSLStream[trio.SocketStream]) -> None:
        left = SIZE
        while left:
            left -= len(await stream.receive_some(MIB))
        await stream.send_all(b"1")

    transport = Transport(BOB, "127.0.0.1", 0, Receiver(), Limits())
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, count, listeners)
        port = await nursery.start(transport.run)
        line.send((port, listeners[0].transport_listener.socket.getsockname()[1]))
        transport.admit([PeerAddress(peer_id_of(ALICE), "127.0.0.1", await trio.to_thread.run_sync(line.recv))])
        await trio.to_thread.run_sync(line.recv)
        nursery.cancel_scope.cancel()


async def send(pem: Path, line: Line) -> dict[str, list[float]]:
    """Seconds for each transfer, both ways in turns."""
    payload = os.urandom(SIZE)
    name = digest("share", payload)
    port, tls_port = line.recv()
    transport = Transport(ALICE, "127.0.0.1", 0, Receiver(), Limits())
    context = ssl.create_default_context(cafile=str(pem))

    async def push() -> None:
        await transport.push(peer_id_of(BOB), b"", payload, name)

    async def push_tls() -> None:
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", tls_port, ssl_context=context)
        async with stream:
            view = memoryview(payload)
            for at in range(0, SIZE, TLS_PIECE):
                await stream.send_all(view[at : at + TLS_PIECE])
            await stream.receive_some(1)

    found: dict[str, list[float]] = {"mycelia": [], "tls": []}
    async with trio.open_nursery() as nursery:
        line.send(await nursery.start(transport.run))
        transport.admit([PeerAddress(peer_id_of(BOB), "127.0.0.1", port)])
        with trio.fail_after(20):
            while not transport.connected:  # noqa: ASYNC110  (nothing tells)
                await trio.sleep(0.01)
        ways: dict[str, Callable[[], Awaitable[None]]] = {"mycelia": push, "tls": push_tls}
        for _ in range(REPEATS):
            for way, transfer in ways.items():
                began = time.perf_counter()
                await transfer()
                found[way].append(time.perf_counter() - began)
        line.send("enough")
        nursery.cancel_scope.cancel()
    return found


def throughput() -> dict[str, Any]:
    """MB/s of every transfer, and the median ratio of those that followed each other."""
    here, there = Pipe()
    with tempfile.TemporaryDirectory() as folder:
        pem = certificate(Path(folder))
        if os.fork() == 0:
            here.close()
            trio.run(receive, pem, there)
            os._exit(0)
        there.close()
        found = trio.run(send, pem, here)
        os.wait()
    rates = {way: [round(SIZE / 1e6 / seconds, 1) for seconds in times] for way, times in found.items()}
    ratio = statistics.median(a / b for a, b in zip(rates["mycelia"], rates["tls"], strict=True))
    return {"megabytes": SIZE / 1e6, "megabytes_per_second": rates, "tls_ratio": round(ratio, 3)}


def rounds(cells: list[tuple[int, int]], until: float) -> Iterator[dict[str, Any]]:
    """Each cell: a whole secure round, and the same updates in the clear."""
    for n, parameters in cells:
        cell: dict[str, Any] = {"n": n, "parameters": parameters, "load": round(os.getloadavg()[0], 1)}
        left, needed = until - time.monotonic(), n * (NODE_MEGABYTES + parameters * BYTES_PER_PARAMETER / 1e6)
        if needed > free_megabytes():
            yield cell | {"left_out": f"needs about {needed:.0f} MB, free are {free_megabytes():.0f}"}
        elif left < SHORTEST_SECONDS:
            yield cell | {"left_out": "no time was left"}
        else:
            try:
                clear = clear_round(n, parameters)
                secure = secure_round(n, parameters, left)
            except TooSlow as error:
                yield cell | {"left_out": f"did not end within {left:.0f} s: {error}"}
                continue
            ratio = round(secure["seconds"] / clear, 1)
            yield cell | secure | {"clear_seconds": round(clear, 3), "ratio_to_clear": ratio}


def free_megabytes() -> float:
    """What the machine can still give."""
    text = Path("/proc/meminfo").read_text()
    return int(text.partition("MemAvailable:")[2].split()[0]) / 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", nargs="*", metavar="N:PARAMETERS", help="these rounds instead of all")
    chosen = parser.parse_args()
    until = time.monotonic() + 60 * chosen.minutes
    cells = CELLS
    if chosen.only is not None:
        cells = [(int(n), int(float(parameters))) for n, _, parameters in (one.partition(":") for one in chosen.only)]
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}",
        **throughput(),
        "loop_lag_ms": lag_while_training(),
        "rounds": [],
    }
    RESULT.parent.mkdir(exist_ok=True)
    for cell in chain((None,), rounds(cells, until)):  # what is known already is written first
        if cell is not None:
            report["rounds"].append(cell)
        RESULT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
