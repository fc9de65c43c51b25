"""MemberRegistry: what a first roster must be, and what the registry then says about it."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from eth_hash.auto import keccak

from ledger.errors import Reverted
from ledger.model import ZERO_ADDRESS, found_registry
from ledger.model import Entry as ModelEntry
from ledger.types import compute_config_digest, domain_separator
from tests.helpers.chain import SPEC, Chain, Consortium, Entry, Refusal, address_of, entries, entry, key_of

LEDGER = address_of(key_of("ledger"))
VAULT = address_of(key_of("vault"))
DISPUTES = address_of(key_of("disputes"))


def with_second(**changes: object) -> list[Entry]:
    """Four entries of which the one with index 2 is changed."""
    return [*entries(2), entry(2, **changes), entry(3)]


def unnamed(*addresses: str) -> Refusal:
    return Refusal("InvalidContracts", tuple(map(str.lower, addresses)))


REFUSED = {
    "two members": ((entries(2), SPEC, LEDGER, VAULT, DISPUTES), Refusal("MemberCountOutOfRange", (2,))),
    "65 members": ((entries(65), SPEC, LEDGER, VAULT, DISPUTES), Refusal("MemberCountOutOfRange", (65,))),
    "no spec": ((entries(3), b"", LEDGER, VAULT, DISPUTES), Refusal("SpecLengthOutOfRange", (0,))),
    "long spec": ((entries(3), bytes(16_385), LEDGER, VAULT, DISPUTES), Refusal("SpecLengthOutOfRange", (16_385,))),
    "no ledger": ((entries(3), SPEC, ZERO_ADDRESS, VAULT, DISPUTES), unnamed(ZERO_ADDRESS, VAULT, DISPUTES)),
    "no vault": ((entries(3), SPEC, LEDGER, ZERO_ADDRESS, DISPUTES), unnamed(LEDGER, ZERO_ADDRESS, DISPUTES)),
    "no disputes": ((entries(3), SPEC, LEDGER, VAULT, ZERO_ADDRESS), unnamed(LEDGER, VAULT, ZERO_ADDRESS)),
    "ledger is vault": ((entries(3), SPEC, LEDGER, LEDGER, DISPUTES), unnamed(LEDGER, LEDGER, DISPUTES)),
    "ledger is disputes": ((entries(3), SPEC, LEDGER, VAULT, LEDGER), unnamed(LEDGER, VAULT, LEDGER)),
    "vault is disputes": ((entries(3), SPEC, LEDGER, VAULT, VAULT), unnamed(LEDGER, VAULT, VAULT)),
    "no account": ((with_second(account=ZERO_ADDRESS), SPEC, LEDGER, VAULT, DISPUTES), Refusal("ZeroAccount", (2,))),
    "no signer": ((with_second(signer=ZERO_ADDRESS), SPEC, LEDGER, VAULT, DISPUTES), Refusal("ZeroSigner", (2,))),
    "no name": ((with_second(name=""), SPEC, LEDGER, VAULT, DISPUTES), Refusal("NameLengthOutOfRange", (2, 0))),
    "long name": (
        (with_second(name="ä" * 32 + "x"), SPEC, LEDGER, VAULT, DISPUTES),
        Refusal("NameLengthOutOfRange", (2, 65)),
    ),
    "no PeerID": ((with_second(peer_id=b""), SPEC, LEDGER, VAULT, DISPUTES), Refusal("PeerIdLengthOutOfRange", (2, 0))),
    "long PeerID": (
        (with_second(peer_id=b"1" * 129), SPEC, LEDGER, VAULT, DISPUTES),
        Refusal("PeerIdLengthOutOfRange", (2, 129)),
    ),
    "no net address": (
        (with_second(net_address=""), SPEC, LEDGER, VAULT, DISPUTES),
        Refusal("NetAddressLengthOutOfRange", (2, 0)),
    ),
    "long net address": (
        (with_second(net_address="h" * 256), SPEC, LEDGER, VAULT, DISPUTES),
        Refusal("NetAddressLengthOutOfRange", (2, 256)),
    ),
    "account twice": (
        (with_second(account=entry(0).account), SPEC, LEDGER, VAULT, DISPUTES),
        Refusal("DuplicateAccount", (2, entry(0).account.lower())),
    ),
    "signer twice": (
        (with_second(signer=entry(1).signer), SPEC, LEDGER, VAULT, DISPUTES),
        Refusal("DuplicateSigner", (2, entry(1).signer.lower())),
    ),
    "name twice": (
        (with_second(name=entry(0).name), SPEC, LEDGER, VAULT, DISPUTES),
        Refusal("DuplicateName", (2, entry(0).name)),
    ),
    "PeerID twice": (
        (with_second(peer_id=entry(1).peer_id), SPEC, LEDGER, VAULT, DISPUTES),
        Refusal("DuplicatePeerId", (2, entry(1).peer_id)),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_first_roster_is_refused_by_name(deployed: Consortium, case: str) -> None:
    arguments, expected = REFUSED[case]
    with deployed.chain.undone():
        assert deployed.chain.refusal(deployed.chain.construction("MemberRegistry", *arguments)) == expected


@pytest.mark.parametrize("case", REFUSED)
def test_the_model_refuses_the_same_roster_for_the_same_reason(case: str) -> None:
    (members, spec, *others), expected = REFUSED[case]
    with pytest.raises(Reverted) as refused:
        found_registry(1, LEDGER, [ModelEntry(*member) for member in members], spec, *others)
    found = tuple(_lower(value) for value in refused.value.values.values())
    assert Refusal(refused.value.name, found) == expected


def test_the_longest_fields_and_the_shortest_roster_are_accepted() -> None:
    chain = Chain()
    longest = {"name": "n" * 64, "peer_id": b"p" * 128, "net_address": "h" * 255}
    members = [entry(0, **longest), entry(1, name="x", peer_id=b"p", net_address="h"), entry(2)]
    registry = chain.deploy("MemberRegistry", members, bytes(16_384), LEDGER, VAULT, DISPUTES)
    assert tuple(registry.functions.member(0).call()) == tuple(members[0])
    assert registry.functions.quorum().call() == 3


def test_sixty_four_members_fit_into_one_transaction() -> None:
    chain = Chain()
    registry = chain.deploy("MemberRegistry", entries(64), SPEC, LEDGER, VAULT, DISPUTES)
    assert registry.functions.memberCount().call() == 64
    assert registry.functions.quorum().call() == 43
    assert registry.functions.activeBitmap().call() == 2**64 - 1
    assert registry.functions.signerAt(63).call() == entry(63).signer


def test_the_views_repeat_what_the_constructor_was_given(consortium: Consortium) -> None:
    views = consortium.registry.functions
    assert views.VERSION().call() == "2.0.0"
    assert views.memberCount().call() == 4
    assert views.rosterVersion().call() == 1
    assert views.quorum().call() == 3
    assert views.activeBitmap().call() == 0b1111
    assert views.specDigest().call() == keccak(SPEC)
    assert views.ledger().call() == consortium.ledger.address
    assert views.vault().call() == consortium.vault.address
    assert views.disputes().call() == consortium.disputes.address
    assert views.successor().call() == ZERO_ADDRESS
    assert views.rosterOf(consortium.config).call() == [views.rosterCode().call(), 1]
    assert views.rosterOf(bytes(32)).call() == [ZERO_ADDRESS, 0]
    assert views.domainSeparator().call() == domain_separator(consortium.chain_id, consortium.registry.address)
    for index, member in enumerate(entries(4)):
        assert tuple(views.member(index).call()) == tuple(member)
        assert views.accountAt(index).call() == member.account
        assert views.signerAt(index).call() == member.signer


@pytest.mark.parametrize("view", ["member", "accountAt", "signerAt"])
def test_there_is_no_member_beyond_the_roster(consortium: Consortium, view: str) -> None:
    call = consortium.registry.functions[view](4)
    assert consortium.chain.refusal(call) == Refusal("UnknownMember", (4,))


def test_the_config_digest_binds_chain_contract_version_signers_quorum_and_spec(consortium: Consortium) -> None:
    expected = compute_config_digest(
        consortium.chain.w3.eth.chain_id,
        consortium.registry.address,
        1,
        tuple(member.signer for member in entries(4)),
        3,
        keccak(SPEC),
    )
    assert consortium.registry.functions.configDigest().call() == expected


def test_the_roster_lies_as_code_under_its_digest_and_cannot_be_run(consortium: Consortium) -> None:
    address = consortium.registry.functions.rosterCode().call()
    code = bytes(consortium.chain.w3.eth.get_code(address))
    assert keccak(code) == consortium.config
    assert code[0] == 0  # STOP


def test_the_events_of_the_deployment_tell_the_whole_roster() -> None:
    chain = Chain()
    members = entries(5)
    receipt = chain.send(chain.construction("MemberRegistry", members, SPEC, LEDGER, VAULT, DISPUTES))
    registry = chain.w3.eth.contract(address=receipt["contractAddress"], abi=chain.factory("MemberRegistry").abi)
    entered = [ModelEntry(*member) for member in members]
    model, events = found_registry(chain.w3.eth.chain_id, registry.address, entered, SPEC, LEDGER, VAULT, DISPUTES)
    for name in ("MemberAdmitted", "SpecAdopted", "RosterChanged"):
        expected = [dict(event.values) for event in events if event.name == name]
        assert chain.events(registry, name, receipt) == expected
    assert len(receipt["logs"]) == len(events) == 7
    assert [tuple(registry.functions.member(i).call()) for i in range(5)] == [astuple(m) for m in model.members]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
