"""An endpoint that passes requests on to a true one and changes chosen answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.request import Request, urlopen

from eth_abi.abi import decode, encode

from ledger.trail import event_types

Lie = Callable[[str, list[Any], Any], Any]
"""The result to give for a method, its parameters and the true result; a `Refusal` becomes an error object."""

Log = dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """An error object to answer with."""

    code: int
    message: str
    data: str | None = None


TIMEOUT_SECONDS: Final = 10


def honest(method: str, params: list[Any], result: Any) -> Any:
    return result


class LyingProxy(ThreadingHTTPServer):
    """Serves `target` on a loopback port of its own; what it changes is `lie`, which tests may replace.

    `garble` changes the bytes of an answer, after the lie.  Once `still` is set, the chain behind it is taken to
    change no more: every question is asked only once.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.lie: Lie = honest
        self.garble: Callable[[str, bytes], bytes] = lambda method, answer: answer
        self.still = False
        self._known: dict[str, bytes] = {}

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: that a client hangs up is what some lies are for."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, body: bytes) -> bytes:
        asked = json.loads(body)
        reply = json.loads(self._true_answer(body, json.dumps([asked["method"], asked["params"]])))
        if "result" in reply:
            told = self.lie(asked["method"], asked["params"], reply["result"])
            reply = {"jsonrpc": "2.0", **({"error": asdict(told)} if isinstance(told, Refusal) else {"result": told})}
        return self.garble(asked["method"], json.dumps(reply | {"id": asked["id"]}).encode())

    def _true_answer(self, body: bytes, question: str) -> bytes:
        if self.still and question in self._known:
            return self._known[question]
        request = Request(self.target, body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=TIMEOUT_SECONDS) as response:
            found: bytes = response.read()
        if self.still:
            self._known[question] = found
        return found


class _Handler(BaseHTTPRequestHandler):
    server: LyingProxy
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def do_POST(self) -> None:
        body = self.server.answer(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def lying_proxy(target: str) -> Iterator[LyingProxy]:
    """A proxy in front of `target`, honest until told otherwise, served while the block runs."""
    with LyingProxy(target) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


def on_logs(change: Callable[[list[Log]], list[Log]]) -> Lie:
    """A lie about every list of logs."""

    def lie(method: str, params: list[Any], result: Any) -> Any:
        return change(result) if method == "eth_getLogs" else result

    return lie


def on_event(contract: str, name: str, change: Callable[[dict[str, Any]], Any], place: int = 0) -> Lie:
    """A lie about one event: `change` gets the parameters of the `place`-th of its name, by name."""
    topic, kind = next((topic, kind) for topic, kind in event_types(contract).items() if kind.name == name)
    names, types = zip(*kind.plain, strict=True)

    def rewrite(logs: list[Log]) -> list[Log]:
        mine = [log for log in logs if log["topics"][0] == "0x" + topic.hex()]
        if len(mine) > place:
            values = dict(zip(names, decode(types, bytes.fromhex(mine[place]["data"][2:])), strict=True))
            change(values)
            mine[place]["data"] = "0x" + encode(types, [values[name] for name in names]).hex()
        return logs

    return on_logs(rewrite)


def on_topic(contract: str, name: str, value: int, place: int = 0) -> Lie:
    """A lie about the indexed parameter of one event, the `place`-th of its name."""
    topic = next(topic for topic, kind in event_types(contract).items() if kind.name == name)

    def rewrite(logs: list[Log]) -> list[Log]:
        mine = [log for log in logs if log["topics"][0] == "0x" + topic.hex()]
        if len(mine) > place:
            mine[place]["topics"][1] = "0x" + value.to_bytes(32, "big").hex()
        return logs

    return on_logs(rewrite)


def without(contract: str, name: str) -> Lie:
    """A lie that leaves out every event of this name."""
    topic = next(topic for topic, kind in event_types(contract).items() if kind.name == name)
    return on_logs(lambda logs: [log for log in logs if log["topics"][0] != "0x" + topic.hex()])


def on_answer(wanted: str, change: Callable[[list[Any], Any], Any]) -> Lie:
    """A lie about every answer to the method `wanted`; `change` gets parameters and result."""

    def lie(method: str, params: list[Any], result: Any) -> Any:
        return change(params, result) if method == wanted else result

    return lie
