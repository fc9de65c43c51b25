"""Three machines as network namespaces, one of them behind a NAT that drops whatever comes in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.network, pytest.mark.lengthy]

ROOT = Path(__file__).parents[2]
RELAY, PUBLIC, HIDDEN = 1, 2, 3
PLACES = {RELAY: "10.77.0.2", PUBLIC: "10.77.0.3", HIDDEN: "10.78.0.2"}
PATIENCE_SECONDS = 15.0

NAT = """
table ip nat {
  chain out { type nat hook postrouting priority 100; oifname "bridge" ip saddr 10.78.0.0/24 masquerade; }
}
table ip filter {
  chain pass {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ip saddr 10.77.0.0/24 ip daddr 10.77.0.0/24 accept
    iifname "inside" ip daddr { ALLOWED } accept
  }
}
"""


def why_not() -> str:
    """Why namespaces cannot be had here; empty if they can."""
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            return f"{tool} is missing: install the Debian packages iproute2 and nftables"
    probe = f"mycelia-{os.getpid()}"
    try:
        done = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, timeout=10, check=False)
        if done.returncode:
            return f"network namespaces are not permitted: {done.stderr.strip()}"
        rules = ["ip", "netns", "exec", probe, "nft", "add", "table", "ip", "probe"]
        done = subprocess.run(rules, capture_output=True, text=True, timeout=10, check=False)
        return f"nftables is not permitted: {done.stderr.strip()}" if done.returncode else ""
    finally:
        subprocess.run(["ip", "netns", "del", probe], capture_output=True, timeout=10, check=False)


def run(*command: str, stdin: str | None = None) -> None:
    subprocess.run(command, input=stdin, text=True, check=True, capture_output=True, timeout=20)


class Net:
    """A router with a bridge that two hosts are on, and a hidden one behind it."""

    def __init__(self) -> None:
        self._prefix = f"my{os.getpid() % 100_000}"
        self._undo = ExitStack()

    def name(self, host: int | str) -> str:
        return f"{self._prefix}-{host}"

    def __enter__(self) -> Net:
        try:
            for host in ("router", *PLACES):
                run("ip", "netns", "add", self.name(host))
                self._undo.callback(run, "ip", "netns", "del", self.name(host))
                run("ip", "-n", self.name(host), "link", "set", "lo", "up")
            self._inside("link", "add", "bridge", "type", "bridge")
            self._inside("addr", "add", "10.77.0.1/24", "dev", "bridge")
            self._inside("link", "set", "bridge", "up")
            for host in (RELAY, PUBLIC):
                self._join(host, f"port{host}", "10.77.0.1")
                self._inside("link", "set", f"port{host}", "master", "bridge")
            self._join(HIDDEN, "inside", "10.78.0.1")
            self._inside("addr", "add", "10.78.0.1/24", "dev", "inside")
            run("ip", "netns", "exec", self.name("router"), "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _inside(self, *words: str) -> None:
        run("ip", "-n", self.name("router"), *words)

    def _join(self, host: int, device: str, gateway: str) -> None:
        space = self.name(host)
        self._inside("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", space)
        self._inside("link", "set", device, "up")
        run("ip", "-n", space, "addr", "add", f"{PLACES[host]}/24", "dev", "eth0")
        run("ip", "-n", space, "link", "set", "eth0", "up")
        run("ip", "-n", space, "route", "add", "default", "via", gateway)

    def allow_out(self, *hosts: int) -> None:
        """The hidden host may connect to these; nobody may connect to it."""
        rules = NAT.replace("ALLOWED", ", ".join(PLACES[host] for host in hosts))
        run("ip", "netns", "exec", self.name("router"), "nft", "-f", "-", stdin=rules)

    def start(self, host: int, relay: bool) -> subprocess.Popen[str]:
        places = [f"{number}={place}" for number, place in PLACES.items() if number != host]
        program = [sys.executable, "-m", "tests.helpers.host", str(host), "relay" if relay else "-", *places]
        command = ["ip", "netns", "exec", self.name(host), *program]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._undo.enter_context(process)
        self._undo.callback(process.kill)
        return process


@pytest.fixture
def net() -> Iterator[Net]:
    reason = why_not()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with Net() as found:
        yield found


def see(process: subprocess.Popen[str], condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first thing a host says that fits."""
    assert process.stdout is not None
    end = time.monotonic() + PATIENCE_SECONDS
    line: dict[str, Any] = {}
    while time.monotonic() < end:
        line = json.loads(process.stdout.readline())
        if condition(line):
            return line
    raise AssertionError(line)


def test_node_behind_nat_takes_part_by_its_own_connections_and_is_told_that_nobody_reaches_it(net: Net) -> None:
    net.allow_out(RELAY, PUBLIC)
    hidden, public = net.start(HIDDEN, False), net.start(PUBLIC, False)
    net.start(RELAY, True)
    line = see(hidden, lambda line: len(line["heard"]) == 2 and len(line["reachable"]) == 2)
    assert line["connected"] == {"1": None, "2": None}
    assert line["reachable"] == {"1": False, "2": False}
    line = see(public, lambda line: len(line["heard"]) == 2 and len(line["reachable"]) == 2)
    assert line["reachable"][str(RELAY)]


def test_node_that_can_reach_the_relay_alone_takes_part_through_it(net: Net) -> None:
    net.allow_out(RELAY)
    hidden, public = net.start(HIDDEN, False), net.start(PUBLIC, False)
    net.start(RELAY, True)
    line = see(hidden, lambda line: len(line["heard"]) == 2)
    assert line["connected"] == {str(RELAY): None, str(PUBLIC): RELAY}
    line = see(public, lambda line: HIDDEN in line["heard"])
    assert line["connected"][str(HIDDEN)] == RELAY
