"""A deployment beside its model: every call goes to both, and both must say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eth_hash.auto import keccak

from ledger import model
from ledger.artifacts import load
from ledger.errors import Reverted
from ledger.types import RoundResult
from tests.helpers.chain import SPEC, TERMS, Call, Consortium, Refusal, entries

TIMES_PER_SLOT = 6
TIME_BITS = 40

Outcome = tuple[Any, tuple[model.Event, ...]]


class Twins:
    """The contracts of a fresh consortium and the model's state, kept equal or found different.

    `seen` counts every error and event that both agreed on.
    """

    def __init__(self, consortium: Consortium, seen: Counter[str]) -> None:
        self.consortium, self.seen = consortium, seen
        self.registry, _ = model.found_registry(
            consortium.chain.w3.eth.chain_id,
            consortium.registry.address,
            [model.Entry(*member) for member in entries(consortium.n)],
            SPEC,
            consortium.ledger.address,
            consortium.vault.address,
        )
        self.ledger = model.Ledger()
        self.vault, _ = model.found_vault(TERMS)

    def submit_round(self, result: RoundResult, scores: bytes, signers: int, signatures: bytes) -> bool:
        """Whether both accepted the result; False if both refused it for the same reason."""

        def act(now: int) -> Outcome:
            return model.submit_round(self.registry, self.ledger, result, scores, signers, signatures, now)

        call = self.consortium.submission(result, scores, signers, signatures)
        return self._both("ledger", self.consortium.ledger, call, act)

    def fund(self, sender: str, amount_wei: int) -> bool:
        """As `submit_round`."""
        call = self.consortium.vault.functions.fund()

        def act(_now: int) -> Outcome:
            return model.fund(self.vault, sender, amount_wei)

        return self._both("vault", self.consortium.vault, call, act, amount_wei, sender)

    def activate(self, result: RoundResult) -> bool:
        """As `submit_round`."""
        call = self.consortium.vault.functions.activate(result.as_tuple())
        return self._both(
            "vault", self.consortium.vault, call, lambda now: model.activate(self.ledger, self.vault, result, now)
        )

    def claim(self, index: int, cumulative_wei: int, proof: Sequence[bytes]) -> bool:
        """As `submit_round`."""

        def act(_now: int) -> Outcome:
            return model.claim(self.registry, self.vault, index, cumulative_wei, proof)

        call = self.consortium.vault.functions.claim(index, cumulative_wei, proof)
        return self._both("vault", self.consortium.vault, call, act)

    def check_storage(self) -> None:
        """Every slot, and every balance, is what the model's state says."""
        chain = self.consortium.chain
        for contract, slots in (
            (self.consortium.ledger, self._ledger_slots()),
            (self.consortium.vault, self._vault_slots()),
        ):
            for slot, expected in slots.items():
                found = int.from_bytes(chain.w3.eth.get_storage_at(contract.address, slot), "big")
                assert found == expected, f"slot {slot} holds {found:#x}, the model says {expected:#x}"
        held = self.vault.total_funded - self.vault.total_claimed
        assert chain.balance(self.consortium.vault.address) == held
        for index, account in enumerate(self.consortium.accounts):
            assert chain.balance(account) == self.vault.claimed_wei.get(index, 0)

    def _both(
        self,
        state: str,
        contract: Any,
        call: Call,
        act: Callable[[int], Outcome],
        value: int = 0,
        sender: str | None = None,
    ) -> bool:
        chain = self.consortium.chain
        refusal = chain.refusal(call, value=value, sender=sender, mine=False)
        receipt = chain.mine(call, value=value, sender=sender)
        assert receipt["status"] == (refusal is None)
        expected, following, events = self._expected(act)
        assert refusal == expected
        if expected is not None:
            self.seen[expected.name] += 1
            return False
        assert len(receipt["logs"]) == len(events)
        for event in events:
            [found] = chain.events(contract, event.name, receipt)
            assert {name: plain(part) for name, part in found.items()} == {
                name: plain(part) for name, part in event.values.items()
            }
            self.seen[event.name] += 1
        setattr(self, state, following)
        return True

    def _expected(self, act: Callable[[int], Outcome]) -> tuple[Refusal | None, Any, tuple[model.Event, ...]]:
        try:
            return None, *act(self.consortium.chain.now)
        except Reverted as reverted:
            return Refusal(reverted.name, tuple(map(plain, reverted.values.values()))), None, ()

    def _ledger_slots(self) -> dict[int, int]:
        digests, times = slot_of("RoundLedger", "resultDigest"), slot_of("RoundLedger", "_recordedAt")
        slots = {times: self.ledger.next_round, place_in(digests, self.ledger.next_round): 0}
        for number, digest in enumerate(self.ledger.digests):
            slots[place_in(digests, number)] = int.from_bytes(digest, "big")
        first = int.from_bytes(keccak(times.to_bytes(32, "big")), "big")
        for number, time in enumerate(self.ledger.recorded_at):
            place = first + number // TIMES_PER_SLOT
            slots[place] = slots.get(place, 0) | time << TIME_BITS * (number % TIMES_PER_SLOT)
        return slots

    def _vault_slots(self) -> dict[int, int]:
        values = {
            "activeRound": self.vault.active_round,
            "totalFunded": self.vault.total_funded,
            "activeRoot": int.from_bytes(self.vault.active_root, "big"),
            "activeTotal": self.vault.active_total,
            "totalClaimed": self.vault.total_claimed,
        }
        slots: dict[int, int] = {}
        for variable in load("RewardVault").storage:
            if variable["name"] in values:
                packed = values[variable["name"]] << 8 * variable["offset"]
                slots[variable["slot"]] = slots.get(variable["slot"], 0) | packed
        for index in range(self.consortium.n + 1):
            slots[place_in(slot_of("RewardVault", "claimedWei"), index)] = self.vault.claimed_wei.get(index, 0)
        return slots


def slot_of(contract: str, variable: str) -> int:
    [found] = [entry["slot"] for entry in load(contract).storage if entry["name"] == variable]
    return int(found)


def place_in(mapping_slot: int, key: int) -> int:
    """The slot of a mapping's entry."""
    return int.from_bytes(keccak(key.to_bytes(32, "big") + mapping_slot.to_bytes(32, "big")), "big")


def plain(value: object) -> object:
    """The value as both sides can be compared: results as tuples, addresses in lower case, bytes as bytes."""
    if isinstance(value, RoundResult):
        return value.as_tuple()
    if isinstance(value, Mapping):
        return tuple(value.values())
    if isinstance(value, str):
        return value.lower()
    return bytes(value) if isinstance(value, bytes) else value
