"""The contracts and their model agree on every call, refused or not: results, errors, events, storage, money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from eth_hash.auto import keccak
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ledger.rewards import pack_scores, rewards_proof, rewards_root
from ledger.types import ABANDONED, EMPTY, SIGNATURE_BYTES, STATISTICS, TRAINING, RoundResult, members_of
from tests.helpers.chain import (
    Consortium,
    compact_signature,
    deploy_consortium,
    key_of,
    mirrored,
    with_flipped_parity,
)
from tests.helpers.twins import Twins

MEMBERS = 4
OTHER = keccak(b"other")
WORDS = st.sampled_from([EMPTY, OTHER])
BITMAPS = st.integers(0, 2 ** (MEMBERS + 1) - 1)
QUORUMS = st.sampled_from([0b0111, 0b1011, 0b1101, 0b1110, 0b1111])
MOSTLY = st.sampled_from([True, True, True, False])
INCREMENTS = st.lists(st.integers(0, 9), min_size=MEMBERS, max_size=MEMBERS)

RESULT_CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "round": st.integers(0, 12) | st.just(2**64 - 1),
    "kind": st.integers(0, 4),
    "outcome": st.integers(0, 3),
    "previous": WORDS,
    "config": WORDS,
    "dealers": BITMAPS | st.just(2**255),
    "model": WORDS,
    "deals": WORDS,
    "scores": WORDS,
    "rewards": WORDS,
    "rewards_total": st.integers(0, 60) | st.just(2**128 - 1),
}
SIGNATURE_CHANGES = {
    "cut": lambda signed: signed[:-1],
    "one more": lambda signed: signed + signed[:SIGNATURE_BYTES],
    "first twice": lambda signed: signed[:SIGNATURE_BYTES] * (len(signed) // SIGNATURE_BYTES),
    "reversed": lambda signed: b"".join(
        signed[place : place + SIGNATURE_BYTES] for place in range(len(signed), -1, -SIGNATURE_BYTES)
    ),
    "parity": lambda signed: with_flipped_parity(signed) + signed[SIGNATURE_BYTES:],
    "mirrored": lambda signed: mirrored(signed) + signed[SIGNATURE_BYTES:],
    "stranger": lambda signed: compact_signature(key_of("stranger"), OTHER) + signed[SIGNATURE_BYTES:],
    "zeros": lambda signed: bytes(len(signed)),
    "ones": lambda signed: b"\xff" * len(signed),
}

SEEN: Counter[str] = Counter()


class ContractsAndModel(RuleBasedStateMachine):
    """What the two machines share: a deployment beside its model, and the results that it recorded."""

    consortium: Consortium

    @initialize()
    def begin(self) -> None:
        self.undo = ExitStack()
        self.undo.enter_context(self.consortium.chain.undone())
        self.twins = Twins(self.consortium, SEEN)
        self.template = self.consortium.result()
        self.recorded: list[RoundResult] = []
        self.trees: dict[bytes, tuple[int, ...]] = {}
        self.cumulative = (0,) * MEMBERS

    def next_result(self, **changes: Any) -> RoundResult:
        previous = self.recorded[-1].struct_hash() if self.recorded else EMPTY
        return replace(self.template, round=len(self.recorded), previous=previous, **changes)

    def submit(self, result: RoundResult, scores: bytes, signers: int, signatures: bytes) -> None:
        if self.twins.submit_round(result, scores, signers, signatures):
            self.recorded.append(result)

    def sign(self, result: RoundResult, signers: int) -> bytes:
        return self.consortium.sign(result, [index for index in members_of(signers) if index < MEMBERS])

    def record(self, added: Sequence[int], overstated: int = 0, kind: int = TRAINING) -> None:
        """A valid result; its total may differ from the sum of its leaves, which no contract can see."""
        self.cumulative = tuple(map(sum, zip(self.cumulative, added, strict=True)))
        root = rewards_root(self.cumulative)
        self.trees[root] = self.cumulative
        total = max(0, sum(self.cumulative) + overstated)
        result = self.next_result(kind=kind, rewards=root, rewards_total=total)
        self.submit(result, b"", 0b0111, self.sign(result, 0b0111))

    @invariant()
    def storage_is_the_models(self) -> None:
        if hasattr(self, "twins"):
            self.twins.check_storage()

    @invariant()
    def money_is_conserved(self) -> None:
        if hasattr(self, "twins"):
            vault = self.twins.vault
            assert sum(vault.claimed_wei.values()) == vault.total_claimed
            assert vault.total_claimed <= vault.active_total <= vault.total_funded

    def teardown(self) -> None:
        if hasattr(self, "undo"):
            self.undo.close()


class Submissions(ContractsAndModel):
    """Members and submitters who are honest most of the time."""

    @rule(added=INCREMENTS, kind=st.integers(0, 2))
    def record_rewards(self, added: list[int], kind: int) -> None:
        self.record(added, kind=kind)

    @rule(scores=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=5), signers=QUORUMS)
    def record_scores(self, scores: list[int], signers: int) -> None:
        result = self.next_result(scores=keccak(pack_scores(scores)), outcome=ABANDONED, dealers=0, deals=EMPTY)
        self.submit(result, pack_scores(scores), signers, self.sign(result, signers))

    @rule(changes=st.fixed_dictionaries({}, optional=RESULT_CHANGES), signers=QUORUMS)
    def submit_changed_result(self, changes: dict[str, Any], signers: int) -> None:
        result = replace(self.next_result(), **changes)
        self.submit(result, b"", signers, self.sign(result, signers))

    @rule(name=st.sampled_from(sorted(RESULT_CHANGES)), data=st.data(), signers=QUORUMS)
    def submit_once_changed_result(self, name: str, data: st.DataObject, signers: int) -> None:
        result = replace(self.next_result(), **{name: data.draw(RESULT_CHANGES[name])})
        self.submit(result, b"", signers, self.sign(result, signers))

    @rule(signers=BITMAPS)
    def submit_with_any_signers(self, signers: int) -> None:
        result = self.next_result()
        self.submit(result, b"", signers, self.sign(result, signers))

    @rule(change=st.sampled_from(sorted(SIGNATURE_CHANGES)), signers=QUORUMS)
    def submit_with_changed_signatures(self, change: str, signers: int) -> None:
        result = self.next_result()
        self.submit(result, b"", signers, SIGNATURE_CHANGES[change](self.sign(result, signers)))


class Payments(ContractsAndModel):
    """Funders, activators and claimants; and now and then a quorum whose totals or sums make no sense."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        self.record((0,) * MEMBERS, kind=STATISTICS)
        self.record((1, 2, 0, 4))
        self.twins.fund(self.consortium.chain.deployer, 300)
        self.travel(3600)
        self.twins.activate(self.recorded[-1])

    @rule(added=INCREMENTS, overstated=st.sampled_from([0, 0, -7, 5]))
    def record_rewards(self, added: list[int], overstated: int) -> None:
        self.record(added, overstated)

    @rule(amount=st.sampled_from([0, 1, 7, 50, 10**18]), sender=st.integers(1, 3))
    def fund(self, amount: int, sender: int) -> None:
        self.twins.fund(self.consortium.chain.w3.eth.accounts[sender], amount)

    @rule(seconds=st.sampled_from([10, 1800, 3600, 86_400]))
    def travel(self, seconds: int) -> None:
        self.consortium.chain.travel_to(self.consortium.chain.now + seconds)

    @rule(place=st.integers(-2, 9))
    def activate(self, place: int) -> None:
        self.twins.activate(self.recorded[place] if place < len(self.recorded) else self.next_result())

    @rule(added=INCREMENTS, overstated=st.sampled_from([0, 0, 0, -50, 1000]), wait=MOSTLY, honest=MOSTLY)
    def record_and_activate(self, added: list[int], overstated: int, wait: bool, honest: bool) -> None:
        self.record(added, overstated)
        if wait:
            self.travel(3600)
        result = self.recorded[-1]
        self.twins.activate(result if honest else replace(result, rewards_total=result.rewards_total + 1))

    @rule(index=st.integers(0, MEMBERS - 1))
    def claim(self, index: int) -> None:
        tree = self.trees.get(self.twins.vault.active_root, self.cumulative)
        self.twins.claim(index, tree[index], rewards_proof(tree, index))

    @rule()
    def claim_everything(self) -> None:
        for index in range(MEMBERS):
            self.claim(index)

    @rule(index=st.integers(0, MEMBERS), prover=st.integers(0, MEMBERS - 1), extra=st.integers(0, 2))
    def claim_with_changes(self, index: int, prover: int, extra: int) -> None:
        tree = self.trees.get(self.twins.vault.active_root, self.cumulative)
        self.twins.claim(index, tree[prover] + extra, rewards_proof(tree, prover))


REACHABLE = {
    "RoundOutOfSequence", "PreviousMismatch", "ConfigMismatch", "UnknownKind", "UnknownOutcome",
    "DealersContradictOutcome", "DealersOutsideRoster", "ScoresMismatch", "ScoresLengthMismatch",
    "SignersOutsideRoster", "QuorumNotReached", "SignaturesLengthMismatch", "InvalidSignature", "RoundRecorded",
    "NothingFunded", "Funded",
    "RoundNotRecorded", "ResultMismatch", "RoundNotNewer", "DisputeWindowOpen", "TotalDecreased",
    "TotalExceedsFunds", "RootActivated",
    "UnknownMember", "InvalidProof", "NothingToClaim", "ClaimsExceedTotal", "RewardClaimed",
}  # fmt: skip
"""Every error and event of the ledger's and the vault's actions that plain accounts can bring about."""


def run(machine: type[ContractsAndModel], examples: int, steps: int) -> None:
    machine.consortium = deploy_consortium(MEMBERS)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_error_and_event_is_the_same_on_both() -> None:
    """One call after the other, so that none is left to chance."""
    SEEN.clear()
    Payments.consortium = deploy_consortium(MEMBERS)
    walk = Payments()
    walk.begin()
    next_round = len(walk.recorded)
    changes: list[dict[str, Any]] = [
        {"round": next_round + 1}, {"previous": OTHER}, {"config": OTHER}, {"kind": 3}, {"outcome": 3}, {"dealers": 0},
        {"outcome": ABANDONED}, {"dealers": 0b10001}, {"scores": OTHER},
    ]  # fmt: skip
    for change in changes:
        result = replace(walk.next_result(), **change)
        walk.submit(result, b"", 0b0111, walk.sign(result, 0b0111))
    result = walk.next_result(scores=keccak(b"short"))
    walk.submit(result, b"short", 0b0111, walk.sign(result, 0b0111))
    for signers in (0b10011, 0b0011):
        walk.submit(walk.next_result(), b"", signers, walk.sign(walk.next_result(), signers))
    for change_of_signatures in SIGNATURE_CHANGES.values():
        result = walk.next_result()
        walk.submit(result, b"", 0b1101, change_of_signatures(walk.sign(result, 0b1101)))
    for amount in (0, 1):
        walk.fund(amount, 1)
    for index, extra in ((MEMBERS, 0), (0, 1), (0, 0), (0, 0), (2, 0)):
        walk.claim_with_changes(index, index % MEMBERS, extra)
    walk.activate(0)
    walk.activate(next_round)
    for overstated, wait, honest in ((-100, True, True), (10**6, True, True), (0, False, True), (0, True, False)):
        walk.record_and_activate([5, 5, 5, 5], overstated, wait, honest)
    walk.record_and_activate([0] * MEMBERS, -60, True, True)
    walk.claim_everything()
    walk.storage_is_the_models()
    walk.teardown()
    assert SEEN.keys() == REACHABLE


@pytest.mark.parametrize("machine", [Submissions, Payments])
def test_random_calls_end_the_same_on_both(machine: type[ContractsAndModel]) -> None:
    SEEN.clear()
    run(machine, examples=5, steps=25)
    print(f"{SEEN.total()} outcomes: {dict(sorted(SEEN.items()))}")
    assert SEEN.total() > 60
    assert SEEN.keys() <= REACHABLE


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Submissions, Payments])
def test_many_more_random_calls_end_the_same_on_both(machine: type[ContractsAndModel]) -> None:
    run(machine, examples=150, steps=60)
