"""The registry as signatures prove it: an endpoint that lies shows no member whom nobody took in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ledger.errors import ChainUnavailable, UnprovenRegistry
from ledger.fingerprint import compute_fingerprint
from ledger.model_state import Entry
from ledger.trail import Trail
from ledger.types import EMPTY, ZERO_ADDRESS
from ledger.verified_registry import NOWHERE, VerifiedRegistry, member_of, verified
from tests.helpers.lying_proxy import Lie, honest, on_answer, on_event, without
from tests.helpers.scene import Scene, deploy_scene
from tests.helpers.storm import SPEC, Shown, Storm, raise_storm
from tests.helpers.storm_lies import REGISTRY, STORM_LIES, again, setting, without_place

ABOUT_MEMBERS = [(code, lie) for code, lie in STORM_LIES if code.split(".")[0] in ("roster", "spec")]


@pytest.fixture(scope="module")
def storm() -> Storm:
    return raise_storm()


@pytest.fixture(scope="module")
def shown(storm: Storm) -> Shown:
    return Shown(storm)


def told(shown: Shown, lie: Lie) -> VerifiedRegistry:
    shown.lie = lie
    endpoint: Any = shown
    return verified(Trail(endpoint), shown.registry)


def test_what_is_true_is_believed(shown: Shown, storm: Storm) -> None:
    found = told(shown, honest)
    registry = storm.state.registry
    assert found.roster.config_digest == registry.config_digest == found.configs[-1]
    assert (found.roster.version, found.roster.active) == (registry.keys.version, registry.keys.active)
    assert found.roster.signers == tuple(registry.keys.signers)
    shown_now = [(m.account, m.signer, m.name, m.peer_id.encode(), m.net_address) for m in found.roster.members]
    kept = [(m.account, m.signer, m.name, m.peer_id, m.net_address) for m in registry.members]
    assert shown_now == kept
    assert len(found.configs) == registry.keys.version


@pytest.mark.parametrize(("code", "lie"), ABOUT_MEMBERS, ids=[f"{n}-{c}" for n, (c, _) in enumerate(ABOUT_MEMBERS)])
def test_no_lie_about_members_or_rules_is_believed(shown: Shown, code: str, lie: Lie) -> None:
    with pytest.raises(UnprovenRegistry, match="nothing of it is believed"):
        told(shown, lie)


def everywhere(true: str, false: str) -> Lie:
    """An endpoint that says something else of the same length wherever these bytes are: in events, views and codes."""
    assert len(true) == len(false)

    def swapped(method: str, params: list[Any], answer: Any) -> Any:
        return json.loads(json.dumps(answer).replace(true.encode().hex(), false.encode().hex()))

    return swapped


def other(peer_id: str) -> str:
    return peer_id[:-1] + "Z"


@pytest.mark.parametrize("member", [2, 5], ids=["rotated", "admitted"])
def test_a_node_key_that_nobody_signed_is_not_believed_although_events_and_storage_agree(
    shown: Shown, member: int
) -> None:
    peer_id = told(shown, honest).roster.members[member].peer_id
    with pytest.raises(UnprovenRegistry, match=f"the digest of the (rotation|admission) of member {member}"):
        told(shown, everywhere(peer_id, other(peer_id)))


def test_a_false_founder_shows_in_the_number_to_compare(shown: Shown) -> None:
    """No signature can prove founders, since nobody was there before them."""
    true = told(shown, honest)
    peer_id = true.roster.members[3].peer_id
    found = told(shown, everywhere(peer_id, other(peer_id)))
    assert found.roster.members[3].peer_id == other(peer_id)
    assert found.fingerprint != true.fingerprint


def test_a_rotation_without_a_signature_is_not_believed(shown: Shown) -> None:
    with pytest.raises(UnprovenRegistry, match="did not sign the rotation of member 2"):
        told(shown, on_event(REGISTRY, "Authorised", setting(signature=b"")))


def test_every_part_of_a_deployment_counts_in_its_fingerprint() -> None:
    entry = Entry(ZERO_ADDRESS, ZERO_ADDRESS, "a", b"p", "h:1")
    contracts = tuple(f"0x{place:040x}" for place in range(1, 5))
    changes = [
        {"account": contracts[0]},
        {"signer": contracts[0]},
        {"name": "b"},
        {"peer_id": b"q"},
        {"net_address": "h:2"},
    ]
    seen = {compute_fingerprint(1, contracts, [replace(entry, **change)], EMPTY) for change in [{}, *changes]}
    seen.add(compute_fingerprint(2, contracts, [entry], EMPTY))
    seen.add(compute_fingerprint(1, contracts[::-1], [entry], EMPTY))
    seen.add(compute_fingerprint(1, contracts, [entry, entry], EMPTY))
    seen.add(compute_fingerprint(1, contracts, [entry], b"\1" * 32))
    assert len(seen) == 10


def test_the_fingerprint_stays_while_members_come_and_go() -> None:
    scene = Scene(deploy_scene(5, SPEC))
    before = told(Shown(scene), honest)
    scene.accepted("registry", "leaveRoster", *scene.exit(2))
    scene.accepted("registry", "admit", *scene.admission())
    after = told(Shown(scene), honest)
    assert after.fingerprint == before.fingerprint
    assert after.configs[:1] == before.configs
    assert len(after.configs) == 3


def test_registries_that_repeat_or_drop_rosters_are_not_believed(shown: Shown) -> None:
    dropped = [without_place(REGISTRY, "RosterChanged", 0), without(REGISTRY, "RosterChanged")]
    for lie in (again(REGISTRY, "RosterChanged"), *dropped):
        with pytest.raises((UnprovenRegistry, ChainUnavailable)):
            told(shown, lie)


def test_a_reorganisation_meanwhile_is_no_doubt(shown: Shown) -> None:
    """Findings from two histories would name an honest endpoint a liar."""
    asked: list[str] = []

    def other_at_the_end(params: list[Any], header: Any) -> Any:
        asked.append(params[0])
        return header | {"hash": "0x" + "66" * 32} if asked.count(asked[0]) > 1 else header

    replaced, fewer = on_answer("eth_getBlockByNumber", other_at_the_end), without(REGISTRY, "MemberLeft")
    with pytest.raises(ChainUnavailable, match="was replaced"):
        told(shown, lambda method, params, answer: fewer(method, params, replaced(method, params, answer)))


@pytest.mark.parametrize("address", ["nowhere", "host:", "host:99999", "host:x", ":1", "[]:0"])
def test_an_address_that_is_none_costs_only_who_wrote_it(address: str) -> None:
    found = member_of(3, Entry("0x" + "11" * 20, "0x" + "22" * 20, "west", b"12D3KooWwest", address))
    assert (found.host, found.port) == NOWHERE
    assert (found.index, found.name, found.peer_id) == (3, "west", "12D3KooWwest")
