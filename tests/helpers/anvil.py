"""Anvil, a node in a process of its own: what eth-tester cannot do (reorganise, wait for blocks, charge nothing)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import pytest

PACKAGES: Final = Path(__file__).parents[2] / "contracts" / "node_modules" / "@foundry-rs"
START_SECONDS: Final = 60
STOP_SECONDS: Final = 60

KEYS: Final = (
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
)
"""Of the accounts that anvil funds; known to everyone."""


@dataclass
class Anvil:
    """A running anvil."""

    url: str
    process: subprocess.Popen[str]

    def request(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
        with urlopen(Request(self.url, body, {"Content-Type": "application/json"}), timeout=10) as response:
            answer = json.loads(response.read())
        assert "error" not in answer, answer
        return answer["result"]

    def reorganise(self, depth: int) -> None:
        """Replaces the newest blocks by as many empty ones."""
        self.request("anvil_reorg", depth, [])

    def stop(self) -> None:
        """Ends it as an operator does; it then writes its state, if it was asked to."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Ends it as a loss of power does."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)


def binary() -> Path:
    """Anvil's executable; the test skips where there is none, and fails where there should be one."""
    found = sorted(PACKAGES.glob("anvil-*/bin/anvil"))
    if not found:
        reason = "anvil is missing: npm ci --prefix contracts --ignore-scripts"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found[0]


@contextmanager
def anvil(*options: str, port: int = 0, hardfork: str = "cancun") -> Iterator[Anvil]:
    """An anvil on a loopback port of its own, ended with the block."""
    command = [str(binary()), "--host", "127.0.0.1", "--port", str(port), "--hardfork", hardfork, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield Anvil(f"http://{_listening(process, command)}", process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def _listening(process: subprocess.Popen[str], command: Sequence[str]) -> str:
    assert process.stdout is not None
    deadline = threading.Timer(START_SECONDS, process.kill)
    deadline.start()
    try:
        for line in process.stdout:
            if line.startswith("Listening on "):
                return line.removeprefix("Listening on ").strip()
    finally:
        deadline.cancel()
    pytest.fail(f"anvil did not start: {' '.join(command)}")
