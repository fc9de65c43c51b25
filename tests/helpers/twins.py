"""A deployment beside its model: every call goes to both, and both must say the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from eth_hash.auto import keccak

from ledger import model
from ledger.approvals import Statement
from ledger.artifacts import load
from ledger.errors import Reverted
from ledger.model_state import Entry
from ledger.types import RoundResult
from tests.helpers.chain import DISPUTES, TERMS, Consortium, Refusal, create_address, entries

CONTRACTS: Final = {
    "registry": "MemberRegistry",
    "ledger": "RoundLedger",
    "vault": "RewardVault",
    "disputes": "Disputes",
}
PAYABLE: Final = ("fund", "payRevenue", "stake")
PAYMENTS: Final = ("RewardClaimed", "RevenueClaimed", "StakeWithdrawn")
MARKS: Final = {"abandoned": 1, "challenged": 2, "dismissed": 4}
VOID_MARK: Final = 8
"""Of the round that a ruling was about, not of the later ones that are void with it."""


class Twins:
    """The contracts of a fresh consortium and the model's state, kept equal or found different.

    `seen` counts every error and event that both agreed on, by contract and function that was called.
    """

    def __init__(self, consortium: Consortium, seen: Counter[str]) -> None:
        self.consortium, self.seen = consortium, seen
        self.contracts = {name: getattr(consortium, name) for name in CONTRACTS}
        self.state = model.found(
            consortium.chain_id,
            {name: contract.address for name, contract in self.contracts.items()},
            [Entry(*member) for member in entries(consortium.n)],
            consortium.spec,
            TERMS,
            DISPUTES,
        )
        self.last_refusal: Refusal | None = None

    def call(self, contract: str, function: str, *args: Any, value: int = 0, sender: str | None = None) -> bool:
        """Whether both accepted the call; False if both refused it for the same reason."""
        chain = self.consortium.chain
        who = sender or chain.deployer
        call = self.contracts[contract].functions[function](*map(for_contract, args))
        refusal = chain.refusal(call, value=value, sender=who, mine=False)
        receipt = chain.mine(call, value=value, sender=who)
        assert receipt["status"] == (refusal is None)
        if function in PAYABLE:
            args = (*args, value)
        if function == "nameSuccessor":
            args = (args[0], bool(chain.w3.eth.get_code(args[0])), *args[1:])
        self.last_refusal, following, events = self._expected(function, who, args)
        assert refusal == self.last_refusal
        if refusal is not None:
            self.seen[f"{function}: {refusal.name}"] += 1
            return False
        self._compare_events(events, receipt)
        self._compare_payment(events, receipt, who)
        self.seen[function] += 1
        self.state = following
        self.check_storage()
        return True

    def check_storage(self) -> None:
        """Every slot, and every balance, is what the model's state says."""
        chain = self.consortium.chain
        vm = chain.tester.backend.chain.get_vm()
        for name, contract in self.contracts.items():
            address = bytes.fromhex(contract.address[2:])
            for slot, expected in slots_of(name, self.state).items():
                found = vm.state.get_storage(address, slot)
                assert found == expected, f"{name}: slot {slot} holds {found:#x}, the model says {expected:#x}"
        assert chain.balance(self.consortium.vault.address) == self.state.vault.held_wei

    def _expected(
        self, function: str, sender: str, args: tuple[Any, ...]
    ) -> tuple[Refusal | None, model.State, tuple[model.Event, ...]]:
        act = getattr(model, snake_case(function))
        try:
            return None, *act(self.state, model.Call(sender, self.consortium.chain.now), *args)
        except Reverted as reverted:
            return Refusal(reverted.name, tuple(map(plain, reverted.values.values()))), self.state, ()

    def _compare_events(self, events: tuple[model.Event, ...], receipt: Any) -> None:
        chain = self.consortium.chain
        assert [log["address"] for log in receipt["logs"]] == [self.contracts[e.contract].address for e in events]
        for event in events:
            [found] = chain.events(self.contracts[event.contract], event.name, receipt)
            assert {name: plain(part) for name, part in found.items()} == {
                name: plain(part) for name, part in event.values.items()
            }
            self.seen[event.name] += 1

    def _compare_payment(self, events: tuple[model.Event, ...], receipt: Any, sender: str) -> None:
        for event in events:
            if event.name in PAYMENTS and event.values["account"] != sender:
                account, block = str(event.values["account"]), int(receipt["blockNumber"])
                balances = self.consortium.chain.w3.eth
                before, after = (balances.get_balance(account, number) for number in (block - 1, block))  # type: ignore[arg-type]
                assert after - before == event.values["amountWei"]


def slots_of(name: str, state: model.State) -> dict[int, int]:
    """What the model says each slot of this contract holds; slots that are not named hold nothing new."""
    slots: Counter[int] = Counter()
    for slot, offset, value in {"registry": _registry, "ledger": _ledger, "vault": _vault, "disputes": _disputes}[name](
        state
    ):
        slots[slot] += number(value) << 8 * offset
    return dict(slots)


Place = tuple[int, int, Any]


def _registry(state: model.State) -> Iterator[Place]:
    registry = state.registry
    values = {
        "rosterVersion": registry.keys.version,
        "_memberCount": len(registry.members),
        "_quorum": registry.keys.quorum,
        "activeBitmap": registry.keys.active,
        "specDigest": registry.spec_digest,
        "proposedSpec": registry.proposed_spec,
        "adoptableAt": registry.adoptable_at,
        "specProposals": registry.spec_proposals,
        "successor": registry.successor,
    }
    # The address of the roster's code is found by its hash; it shares the first slot, which the views repeat.
    yield from (place for place in _variables("MemberRegistry", values) if place[0] != variable("rosterCode")[0])
    for index, entry in enumerate(registry.members):
        first = place_in(variable("_members")[0], index)
        yield first, 0, entry.account
        yield first + 1, 0, entry.signer
        for ahead, data in ((2, entry.name.encode()), (3, entry.peer_id), (4, entry.net_address.encode())):
            yield from _bytes_at(first + ahead, data)
        yield place_in(variable("rotatedAt")[0], index), 0, registry.rotated_at.get(index, 0)
    for config, keys in registry.rosters.items():
        yield place_in(variable("_rosters")[0], config), 20, keys.version
        yield place_in(variable("_rosters")[0], config), 0, roster_address(state, keys.version)


def _ledger(state: model.State) -> Iterator[Place]:
    ledger = state.ledger
    values = {
        "_recordingCode": roster_address(state, ledger.recording_version),
        "recordingVersion": ledger.recording_version,
        "pausedUntil": ledger.paused_until,
        "pauses": ledger.pauses,
    }
    yield from _variables("RoundLedger", values)
    records = variable("_records", "RoundLedger")[0]
    yield place_in(records, ledger.next_round), 0, 0
    for round_id, record in enumerate(ledger.records):
        marks = sum(mark for name, mark in MARKS.items() if getattr(record, name))
        marks += VOID_MARK * any(first == round_id for first, _ in ledger.voided)
        place = place_in(records, round_id)
        yield place, 0, record.digest
        yield place, 27, record.recorded_at
        yield place, 31, marks
    voided, disputed = (variable(name)[0] for name in ("_voided", "_disputed"))
    yield voided, 0, len(ledger.voided)
    for place, (first, below) in enumerate(ledger.voided):
        yield array_at(voided) + place, 0, first
        yield array_at(voided) + place, 8, below
    yield disputed, 0, len(ledger.disputed)
    for place, round_id in enumerate(ledger.disputed):
        yield array_at(disputed) + place // 4, 8 * (place % 4), round_id


def _vault(state: model.State) -> Iterator[Place]:
    vault = state.vault
    values = {
        "totalFunded": vault.total_funded,
        "totalSlashed": vault.total_slashed,
        "activeRound": vault.active_round,
        "activeRoot": vault.active_root,
        "activeTotal": vault.active_total,
        "totalClaimed": vault.total_claimed,
    }
    yield from _variables("RewardVault", values)
    for index in range(len(state.registry.members) + 1):
        yield place_in(variable("claimedWei")[0], index), 0, vault.claimed_wei.get(index, 0)
        stake, place = vault.stake_of(index), place_in(variable("_stakes")[0], index)
        yield place, 0, stake.staked
        yield place, 16, stake.unbonding
        yield place + 1, 0, stake.bonded
        yield place + 1, 16, stake.release_at
    for round_id, revenue in vault.revenue.items():
        place = place_in(variable("revenueOf")[0], round_id)
        yield place, 0, revenue.root
        yield place + 1, 0, revenue.total_wei
        yield place + 1, 16, revenue.paid_wei
        yield place + 2, 0, revenue.claimed_wei
        for index, wei in revenue.claimed.items():
            yield place_in(place_in(variable("claimedRevenueWei")[0], round_id), index), 0, wei


def _disputes(state: model.State) -> Iterator[Place]:
    for round_id, challenger in state.disputes.challenger_of.items():
        yield place_in(variable("challengerOf")[0], round_id), 0, challenger
    for offence in state.disputes.punished:
        yield place_in(variable("isPunished")[0], offence), 0, 1
    for index, round_id in state.disputes.last_challenged.items():
        yield place_in(variable("_lastChallenged")[0], index), 0, round_id


def roster_address(state: model.State, version: int) -> str:
    """Where the registry put the code of this roster: it creates nothing else, one roster a version."""
    return create_address(state.addresses["registry"], version)


@cache
def variable(name: str, contract: str | None = None) -> tuple[int, int]:
    """Slot and offset of the only variable of this name."""
    [found] = {
        (entry["slot"], entry["offset"])
        for artifact in CONTRACTS.values()
        if contract in (None, artifact)
        for entry in load(artifact).storage
        if entry["name"] == name
    }
    return found


def _variables(contract: str, values: Mapping[str, Any]) -> Iterator[Place]:
    for name, value in values.items():
        yield *variable(name, contract), value


def _bytes_at(slot: int, data: bytes) -> Iterator[Place]:
    """Source: Solidity, "Layout of State Variables in Storage", bytes and string."""
    if len(data) < 32:
        yield slot, 0, int.from_bytes(data.ljust(32, b"\0"), "big") | 2 * len(data)
        return
    yield slot, 0, 2 * len(data) + 1
    first = array_at(slot)
    for start in range(0, len(data), 32):
        yield first + start // 32, 0, data[start : start + 32].ljust(32, b"\0")


def place_in(mapping_slot: int, key: int | bytes) -> int:
    """The slot of a mapping's entry."""
    word = key if isinstance(key, bytes) else key.to_bytes(32, "big")
    return int.from_bytes(keccak(word + mapping_slot.to_bytes(32, "big")), "big")


def array_at(slot: int) -> int:
    """The slot of an array's first element."""
    return int.from_bytes(keccak(slot.to_bytes(32, "big")), "big")


def number(value: Any) -> int:
    if isinstance(value, bytes):
        return int.from_bytes(value, "big")
    return int(value, 16) if isinstance(value, str) else int(value)


def snake_case(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower()


def for_contract(value: Any) -> Any:
    """The argument as web3 takes it."""
    if isinstance(value, RoundResult | Statement):
        return value.as_tuple()
    return (
        (value.account, value.signer, value.name, value.peer_id, value.net_address)
        if isinstance(value, Entry)
        else value
    )


def plain(value: object) -> object:
    """The value as both sides can be compared: structs as tuples, addresses in lower case, bytes as bytes."""
    if isinstance(value, RoundResult):
        return value.as_tuple()
    if isinstance(value, Mapping):
        return tuple(value.values())
    if isinstance(value, str):
        return value.lower()
    return bytes(value) if isinstance(value, bytes) else value
