"""The registry as signatures prove it: an endpoint that lies shows no member whom nobody took in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak

from ledger.approvals import Approval, Removal, SpecChange, Succession
from ledger.deployment import Deployment
from ledger.errors import ChainUnavailable, UnprovenRegistry
from ledger.fingerprint import compute_fingerprint
from ledger.model_state import Entry
from ledger.trail import Trail, event_types
from ledger.types import DAY_SECONDS, EMPTY, ZERO_ADDRESS, VaultTerms
from ledger.verified_registry import NOWHERE, VerifiedRegistry, member_of, verified
from tests.helpers.lying_proxy import Lie, Log, honest, on_answer, on_event, on_logs, without
from tests.helpers.scene import OTHER, Scene, deploy_scene
from tests.helpers.storm import SPEC, Shown, Storm, raise_storm
from tests.helpers.storm_lies import REGISTRY, STORM_LIES, STRANGER, again, setting, without_place

ABOUT_MEMBERS = [(code, lie) for code, lie in STORM_LIES if code.split(".")[0] in ("roster", "spec")]


@pytest.fixture(scope="module")
def storm() -> Storm:
    return raise_storm()


@pytest.fixture(scope="module")
def shown(storm: Storm) -> Shown:
    return Shown(storm.consortium)


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
    here = [f"0x{place:040x}" for place in range(1, 6)]
    deployment = Deployment(1, *here[:4], VaultTerms(1, 2, 3), (3, 4), here[4], 5, 6)
    others: list[dict[str, Any]] = [
        {"chain_id": 2},
        *({name: here[4]} for name in ("registry", "ledger", "vault", "disputes")),
        *({"terms": VaultTerms(*terms)} for terms in ((2, 2, 3), (1, 1, 3))),
        *({"windows": windows} for windows in ((4, 4), (3, 3))),
        *({"asset": here[0]}, {"unbonding_seconds": 6}, {"bond_wei": 7}),
    ]
    changes: list[dict[str, Any]] = [
        *({"account": here[0]}, {"signer": here[0]}, {"name": "b"}, {"peer_id": b"q"}, {"net_address": "h:2"}),
    ]
    seen = {compute_fingerprint(replace(deployment, **other), [entry], EMPTY) for other in [{}, *others]}
    seen |= {compute_fingerprint(deployment, [replace(entry, **change)], EMPTY) for change in changes}
    seen |= {compute_fingerprint(deployment, [entry, entry], EMPTY), compute_fingerprint(deployment, [entry], OTHER)}
    assert len(seen) == 1 + len(others) + len(changes) + 2


def change_before_the_founding(name: str, values: dict[str, Any], approval: Approval) -> Lie:
    """A change with an approval that nobody signed, between the founders and the first roster, as if it were theirs."""
    known = {kind.name: (topic, kind) for topic, kind in event_types(REGISTRY).items()}

    def log_of(like: Log, event: str, found: dict[str, Any]) -> Log:
        topic, kind = known[event]
        topics = [topic, *(encode([abi], [found[field]]) for field, abi in kind.indexed)]
        plain = encode([abi for _, abi in kind.plain], [found[field] for field, _ in kind.plain])
        return like | {"topics": ["0x" + part.hex() for part in topics], "data": "0x" + plain.hex()}

    def more(logs: list[Log]) -> list[Log]:
        first = "0x" + known["RosterChanged"][0].hex()
        place = next((n for n, log in enumerate(logs) if log["topics"][0] == first), None)
        if place is None:
            return logs
        like = logs[place]
        allowed = {"config": EMPTY, "approved": approval.struct_hash(), "signers": 0, "signatures": b""}
        forged = [log_of(like, "Approved", allowed), log_of(like, name, values)]
        told = [*logs[:place], *forged, *logs[place:]]
        begins = int(logs[0]["logIndex"], 16)
        return [
            log | {"logIndex": hex(begins + n)} if log["blockNumber"] == like["blockNumber"] else log
            for n, log in enumerate(told)
        ]

    return on_logs(more)


@pytest.mark.parametrize(
    ("name", "values", "approval"),
    [
        ("MemberRemoved", {"index": 3, "evidence": EMPTY}, Removal(EMPTY, 3, EMPTY)),
        (
            "SpecProposed",
            {"number": 0, "specDigest": keccak(b"{}"), "adoptableAt": 86_400, "spec": b"{}"},
            SpecChange(EMPTY, 0, keccak(b"{}")),
        ),
        ("SuccessorNamed", {"successor": STRANGER}, Succession(EMPTY, STRANGER)),
    ],
    ids=["removal", "spec", "successor"],
)
def test_nothing_that_comes_before_the_first_roster_needs_no_signature(
    name: str, values: dict[str, Any], approval: Approval
) -> None:
    shown = Shown(deploy_scene(5, SPEC))
    assert told(shown, honest).roster.version == 1
    with pytest.raises(UnprovenRegistry, match="comes before there was any roster"):
        told(shown, change_before_the_founding(name, values, approval))


SENT: dict[str, dict[str, Any]] = {
    "another constructor": {"input": "0x6001"},
    "an ordinary call": {"to": STRANGER},
    "another sender": {"from": STRANGER},
    "another nonce": {"nonce": "0x7"},
}


@pytest.mark.parametrize("case", SENT)
def test_a_registry_that_was_made_in_another_way_is_not_believed(shown: Shown, case: str) -> None:
    """Its constructor may have written a roster that no event tells of."""
    with pytest.raises(UnprovenRegistry):
        told(shown, on_answer("eth_getTransactionByHash", lambda _, found: found | SENT[case]))


def test_a_named_successor_is_shown() -> None:
    scene = Scene(deploy_scene(5, SPEC))
    assert told(Shown(scene.consortium), honest).successor is None
    scene.accepted("registry", "nameSuccessor", *scene.succession(scene.state.addresses["ledger"]))
    assert told(Shown(scene.consortium), honest).successor == scene.state.addresses["ledger"]


def test_the_fingerprint_stays_while_members_come_and_go() -> None:
    scene = Scene(deploy_scene(5, SPEC))
    before = told(Shown(scene.consortium), honest)
    scene.accepted("registry", "leaveRoster", *scene.exit(2))
    scene.accepted("registry", "admit", *scene.admission())
    after = told(Shown(scene.consortium), honest)
    assert after.fingerprint == before.fingerprint
    assert after.configs[:1] == before.configs
    assert len(after.configs) == 3


def test_a_specification_that_nobody_can_read_is_no_lie() -> None:
    scene = Scene(deploy_scene(5, SPEC))
    scene.accepted("registry", "proposeSpec", *scene.spec_change(b"no task"))
    scene.travel(DAY_SECONDS)
    scene.accepted("registry", "adoptSpec", b"no task")
    assert told(Shown(scene.consortium), honest).roster.spec == b"no task"


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
