"""PeerIDs and addresses."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gossip.transport import Limits, PeerAddress, peer_id_of

# Computed with py-libp2p 0.8.1 (ID.from_pubkey of the key pair of this seed).
SEED = bytes(range(32))
PEER_ID = "12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB"


def test_peer_id_is_the_one_that_libp2p_derives() -> None:
    assert peer_id_of(SEED) == PEER_ID


def test_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError):
        peer_id_of(bytes(31))


@pytest.mark.parametrize("peer_id", ["", "12D3KooW", "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC", "0OIl", "é"])
def test_anything_but_an_ed25519_peer_id_is_refused(peer_id: str) -> None:
    with pytest.raises(ValueError, match="PeerID"):
        PeerAddress(peer_id, "127.0.0.1", 4001)


@pytest.mark.parametrize(("host", "port"), [("", 1), ("h", 0), ("h", 65536)])
def test_address_that_nobody_can_dial_is_refused(host: str, port: int) -> None:
    with pytest.raises(ValueError):
        PeerAddress(PEER_ID, host, port)


def test_identities_need_neither_libp2p_nor_trio() -> None:
    code = "import sys, gossip.transport; assert not {'libp2p', 'trio'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "bounds",
    [{"max_payload_bytes": 2, "max_bytes_in_flight": 1}, {"silence_seconds": 1.0, "ping_seconds": 1.0}],
)
def test_limits_that_contradict_each_other_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Limits(**bounds)  # type: ignore[arg-type]
