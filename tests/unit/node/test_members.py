"""Whom a consortium is founded with: members whose nodes can run, each under a name and at a place of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gossip.transport import peer_id_of
from node.errors import ConfigError
from node.members import is_host, read_member, read_roster


def write(folder: Path, index: int, **changes: Any) -> Path:
    entry = {
        "name": f"clinic {index}",
        "account": "0x" + f"{index + 1:02x}" * 20,
        "signer": "0x" + f"{index + 101:02x}" * 20,
        "peer_id": peer_id_of(bytes([index + 1]) * 32),
        "address": f"clinic-{index}.example:4001",
    }
    path = folder / f"member-{index}.json"
    path.write_text(json.dumps({name: value for name, value in (entry | changes).items() if value is not None}))
    return path


def test_members_are_read_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    roster = read_roster([write(tmp_path, index) for index in (2, 0, 1)])
    assert [(member.index, member.name) for member in roster] == [(0, "clinic 2"), (1, "clinic 0"), (2, "clinic 1")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": 5}, "Expected `str`, got `int` - at `$.name`"),
        ({"name": None}, "missing required field `name`"),
        ({"name": ""}, "name: found '', expected 1 to 64 bytes of printable characters"),
        ({"name": "  "}, "name: found '  ', expected"),
        ({"name": "x\x1b[2J"}, r"name: found 'x\x1b[2J', expected"),
        ({"name": "north\nsouth"}, r"name: found 'north\nsouth', expected"),
        ({"name": "\u202etxet"}, r"name: found '\u202etxet', expected"),
        ({"peer_id": "xx"}, "not the PeerID of an Ed25519 key: 'xx'"),
        ({"peer_id": "0OIl"}, "not a PeerID: '0OIl'"),
        ({"peer_id": "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"}, "not the PeerID of an Ed25519 key"),
        ({"address": "not a host!:4001"}, "address: found 'not a host!:4001', expected HOST:PORT with an IP address"),
        ({"address": "host:99999"}, "a port lies in 1..65535, found 99999"),
        ({"address": "host"}, "a net address is host:port, found 'host'"),
        ({"signer": "0x12"}, "'0x12' is no address"),
    ],
)
def test_an_entry_with_which_no_node_could_run_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write(tmp_path, 0, **changes)
    with pytest.raises(ConfigError) as refused:
        read_member(path, 0)
    assert str(refused.value).startswith(f"{path} is not a member.json as `mycelia init` writes it: ")
    assert said in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b"\xff\xfe", b"{", b"[" * 100_000])
def test_a_file_that_is_no_member_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "member.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not a member"):
        read_member(path, 0)


def test_a_missing_entry_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "member.json"
    with pytest.raises(ConfigError) as refused:
        read_member(path, 0)
    assert str(refused.value) == f"cannot read {path}: No such file or directory; `mycelia init` writes a member.json"


@pytest.mark.parametrize("what", ["name", "account", "signer", "peer_id", "address"])
def test_two_members_share_nothing_that_each_needs(tmp_path: Path, what: str) -> None:
    first = write(tmp_path, 0)
    second = write(tmp_path, 1, **{what: json.loads(first.read_text())[what]})
    with pytest.raises(ConfigError, match=r"member-0.json and .*member-1.json have the same .*; each needs its own"):
        read_roster([first, second])


def test_an_address_in_other_capitals_is_the_same(tmp_path: Path) -> None:
    paths = [write(tmp_path, 0, address="clinic.example:1"), write(tmp_path, 1, address="CLINIC.example:1")]
    with pytest.raises(ConfigError, match=r"have the same net address clinic\.example:1"):
        read_roster(paths)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "a.b-c.example", "node_1", "spital-zürich.example"])
def test_hosts(host: str) -> None:
    assert is_host(host)


@pytest.mark.parametrize("host", ["", "a b", "a..b", "host:1", "[::1]", "999.1.1.1", "fe80::1%eth0", "x" * 64, "a/b"])
def test_what_is_no_host(host: str) -> None:
    assert not is_host(host)
