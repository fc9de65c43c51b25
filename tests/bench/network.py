"""Throughput of a share between two processes, beside TLS 1.3 on the same loopback, in turns: make bench-network

Writes tests/bench/results/network.json.  The receiver acknowledges when it has all of it, with its digest checked.
"""

from __future__ import annotations

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
from collections.abc import Awaitable, Callable
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

MIB: Final = 1 << 20
SIZE: Final = 128 * MIB
REPEATS: Final = 7
TLS_PIECE: Final = 256 * 1024
RESULT: Final = Path(__file__).parent / "results" / "network.json"
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


def main() -> int:
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
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}",
        "megabytes": SIZE / 1e6,
        "megabytes_per_second": rates,
        "tls_ratio": round(ratio, 3),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
