"""Second part of an audit: every recorded round, its signatures, its scores, and the rewards that follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from ledger.audit_deployment import Deployment, KnownRoster
from ledger.findings import Notebook, shown
from ledger.model import recover_signer
from ledger.rewards import pay, rewards_root, unpack_scores
from ledger.trail import Event, Trail
from ledger.types import (
    ABANDONED,
    CLOSING,
    EMPTY,
    SETTLED,
    SIGNATURE_BYTES,
    STATISTICS,
    STORED_BYTES,
    TRAINING,
    RoundResult,
    members_of,
)

Progress = Callable[[int, int], None]
"""Called with the rounds that were checked and those there are."""

_OUTCOMES: Final = (SETTLED, ABANDONED)


@dataclass(frozen=True, slots=True)
class Rewards:
    """What members have earned after a round.

    Attributes:
        round_id: the round; -1 before the first.
        root: as recorded.
        total_wei: as recorded.
        cumulative: wei by roster index, computed again; None where that was no longer possible.
        block: where the round was recorded.
    """

    round_id: int
    root: bytes
    total_wei: int
    cumulative: tuple[int, ...] | None
    block: int


class RoundsAudit:
    """Goes through the rounds once, as far as asked, and keeps nothing of them but what the next one needs.

    Attributes:
        rewards: after the last round that was checked.
    """

    def __init__(
        self, trail: Trail, deployment: Deployment, notebook: Notebook, progress: Progress | None = None
    ) -> None:
        self._trail = trail
        self._deployment = deployment
        self._notebook = notebook
        self._progress = progress
        self._events = trail.events("RoundLedger", deployment.ledger)
        self._recorded: int = trail.view("RoundLedger", deployment.ledger, "nextRound")
        self._next = 0
        self._last_digest = EMPTY
        self._last_model: bytes | None = None
        self._awaits_scores: int | None = None  # dealers of the last settled training round without scores
        self.rewards = Rewards(-1, EMPTY, 0, (0,) * len(deployment.accounts), 0)

    def advance(self, through: int | None = None) -> None:
        """Checks the rounds up to and with `through`, or all; notes those that are missing at the end."""
        while through is None or self._next <= through:
            event = next(self._events, None)
            if event is None:
                self._skip_to(self._recorded)
                return
            if event.name == "RoundRecorded":
                self._place(event)
            elif event.name == "WindowsAdopted":
                found = (event.values["disputeWindowSeconds"], event.values["rulingSeconds"])
                what = "what the ledger's event says of its windows"
                self._notebook.expect("vault.terms", what, self._deployment.windows, found)
            elif not event.name:
                self._notebook.note("log.unreadable", f"a log of the ledger: {shown(event.values.get('reason'))}")

    def _place(self, event: Event) -> None:
        round_id = event.values["round"]
        if round_id >= self._recorded:
            self._notebook.note("round.extra", "an event tells of a round that the ledger has not recorded", round_id)
        elif round_id < self._next:
            self._notebook.note("round.order", "an event tells of this round out of its turn", round_id)
        else:
            self._skip_to(round_id)
            self._check(event, round_id)
            self._next = round_id + 1
            self._notebook.checked.rounds += 1
            if self._progress is not None:
                self._progress(self._next, self._recorded)

    def _skip_to(self, round_id: int) -> None:
        if self._next >= round_id:
            return
        span = f"round {self._next}" if round_id == self._next + 1 else f"rounds {self._next} to {round_id - 1}"
        self._notebook.note("round.missing", f"no event tells of {span}, which the ledger recorded", self._next)
        self._last_digest = self._stored(round_id - 1)
        self._last_model = self._awaits_scores = None
        self._next = round_id
        self._lose_rewards()

    def _check(self, event: Event, round_id: int) -> None:
        result = RoundResult(*event.values["result"])
        stored = self._stored(round_id)
        self._check_digest(result, event.values["digest"], stored, round_id)
        roster = self._deployment.rosters.get(result.config)
        if roster is None:
            self._notebook.note("round.config", "the result names a roster that never was", round_id)
            self._lose_rewards()
            self.rewards = Rewards(round_id, result.rewards, result.rewards_total, None, event.block)
        else:
            self._check_content(result, roster, round_id)
            self._check_signatures(result, roster, event.values["signers"], event.values["signatures"], round_id)
            scores = self._checked_scores(result, event.values["scores"], len(roster.signers), round_id)
            self._check_rewards(result, scores, event.block, round_id)
        whole = result.struct_hash()
        self._last_digest = whole if whole[:STORED_BYTES] == stored else stored
        self._last_model = result.model

    def _check_digest(self, result: RoundResult, told: bytes, stored: bytes, round_id: int) -> None:
        expect = self._notebook.expect
        expect("round.number", "the number in the result", round_id, result.round, round_id)
        expect("round.digest", "the digest in the event", result.struct_hash(), told, round_id)
        expect("round.storage", "the digest in the ledger's storage", result.stored_digest(), stored, round_id)
        # Of a round whose event is missing only the stored part is known.
        named = result.previous[: len(self._last_digest)]
        expect("round.previous", "the result named as the one before", self._last_digest, named, round_id)

    def _check_content(self, result: RoundResult, roster: KnownRoster, round_id: int) -> None:
        note, expect = self._notebook.note, self._notebook.expect
        if (rounds := self._deployment.training_rounds) is not None:
            expect("round.kind", "the kind of the round", kind_of(round_id, rounds), result.kind, round_id)
        if result.outcome not in _OUTCOMES:
            note("round.outcome", f"the outcome {result.outcome} does not exist", round_id)
        n = len(roster.signers)
        if result.dealers >> n:
            note("round.dealers", "somebody outside the roster is a dealer", round_id)
        if result.outcome == SETTLED:
            if result.dealers.bit_count() < (least := max(max(1, n // 4) + 2, (n + 1) // 2)):
                note("round.dealers", f"{result.dealers.bit_count()} dealers, a sum has at least {least}", round_id)
            if result.deals == EMPTY:
                note("round.deals", "the round settled without Deals", round_id)
            return
        expect("round.deals", "the root of an abandoned round's Deals", EMPTY, result.deals, round_id)
        if self._last_model is not None:
            expect("round.model", "the model after an abandoned round", self._last_model, result.model, round_id)

    def _check_signatures(
        self, result: RoundResult, roster: KnownRoster, signers: int, signatures: bytes, round_id: int
    ) -> None:
        note = self._notebook.note
        if signers >> len(roster.signers):
            note("round.signers", "somebody outside the roster is a signer", round_id)
            return
        if signers.bit_count() < roster.quorum:
            note("round.quorum", f"{signers.bit_count()} members signed, a quorum is {roster.quorum}", round_id)
        if len(signatures) != SIGNATURE_BYTES * signers.bit_count():
            note("round.signature", "there is not one signature for each signer", round_id)
            return
        digest = result.signing_digest(self._deployment.chain_id, self._deployment.ledger)
        for place, index in enumerate(members_of(signers)):
            signature = signatures[SIGNATURE_BYTES * place : SIGNATURE_BYTES * (place + 1)]
            if recover_signer(digest, signature) == roster.signers[index]:
                self._notebook.checked.signatures += 1
            else:
                note("round.signature", f"the signature of member {index} is not that member's", round_id)

    def _checked_scores(self, result: RoundResult, packed: bytes, n: int, round_id: int) -> tuple[int, ...] | None:
        digest = keccak(packed) if packed else EMPTY
        self._notebook.expect("score.hash", "the digest of the scores", result.scores, digest, round_id)
        try:
            scores = unpack_scores(packed, n)
        except ValueError as error:
            self._notebook.note("score.length", str(error), round_id)
            return None
        if scores is not None and self._awaits_scores is None:
            # After a gap nobody can tell which round they are for.
            if self.rewards.cumulative is not None:
                self._notebook.note("score.unexpected", "there is no training round left to score", round_id)
        elif scores is not None:
            strangers = [i for i, score in enumerate(scores) if score and not (self._awaits_scores or 0) >> i & 1]
            if strangers:
                self._notebook.note("score.stranger", f"members {strangers} have a score without an update", round_id)
        return scores

    def _check_rewards(self, result: RoundResult, scores: Sequence[int] | None, block: int, round_id: int) -> None:
        if scores is not None:
            self._awaits_scores = None
        if result.kind == TRAINING and result.outcome == SETTLED:
            self._awaits_scores = result.dealers
        cumulative = self._cumulative(result, scores)
        if cumulative is not None:
            self._notebook.checked.leaves += len(cumulative)
            right = self._notebook.expect(
                "rewards.total", "the sum of the rewards", sum(cumulative), result.rewards_total, round_id
            )
            right &= self._notebook.expect(
                "rewards.root", "the root of the rewards", rewards_root(cumulative), result.rewards, round_id
            )
            # What follows from a wrong sum is wrong as well; one finding says it.
            cumulative = cumulative if right else None
        self.rewards = Rewards(round_id, result.rewards, result.rewards_total, cumulative, block)

    def _cumulative(self, result: RoundResult, scores: Sequence[int] | None) -> tuple[int, ...] | None:
        before = self.rewards.cumulative
        if before is None or result.dealers >> len(before) or len(scores or before) != len(before):
            return None
        added = pay(self._deployment.terms, result.kind, result.outcome, result.dealers, scores, len(before))
        return tuple(old + new for old, new in zip(before, added, strict=True))

    def _lose_rewards(self) -> None:
        if self.rewards.cumulative is not None:
            self._notebook.note("rewards.unknown", "from here on, pay cannot be computed from the events", self._next)
        self.rewards = Rewards(self._next - 1, EMPTY, 0, None, 0)

    def _stored(self, round_id: int) -> bytes:
        return bytes(self._trail.view("RoundLedger", self._deployment.ledger, "resultDigest", round_id))


def kind_of(round_id: int, training_rounds: int) -> int:
    """What a round is for, by the number of training rounds in the published spec."""
    if round_id == 0:
        return STATISTICS
    return TRAINING if round_id <= training_rounds else CLOSING
