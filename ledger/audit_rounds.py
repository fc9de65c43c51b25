"""Third part of an audit: every recorded round, its signatures, its scores, and the rewards that follow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from eth_hash.auto import keccak

from ledger.audit_pauses import PausesAudit
from ledger.audit_registry import RegistryAudit
from ledger.deployment import Deployment
from ledger.echoes import Echoes
from ledger.findings import Notebook
from ledger.model_state import is_signed_by
from ledger.replay import Replay
from ledger.rewards import pay, rewards_root, unpack_scores
from ledger.rosters import KnownRoster
from ledger.rounds_seen import CheckedRound, Progress, Rewards, Watcher, Work
from ledger.stored import OF_ABANDONED, StoredRecord, read_record
from ledger.thinned import Thinned
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

MAX_MARKED: Final = 10_000
"""Challenged rounds that are kept in mind; each cost somebody a bond, or a quorum its signatures."""

_OUTCOMES: Final = (SETTLED, ABANDONED)


class RoundsAudit(Replay):
    """Goes through the rounds once, as far as asked, and keeps nothing of them but what the next one needs.

    Attributes:
        rewards: after the last round that was checked.
        work: what each member did, by roster index.
        scored, earned: sums of the scores and of the rewards over the rounds, for whoever wants to see them.
        marked: rounds that the ledger marks as challenged or ruled on, with these marks.
    """

    def __init__(
        self,
        trail: Trail,
        deployment: Deployment,
        registry: RegistryAudit,
        pauses: PausesAudit,
        echoes: Echoes,
        notebook: Notebook,
        progress: Progress | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        checks = {
            "WindowsAdopted": self._on_windows,
            "RoundRecorded": self._on_recorded,
            "RoundDisputed": self._on_disputed,
            "RoundRuled": self._on_ruled,
            "Paused": self._on_paused,
        }
        super().__init__(trail, "RoundLedger", deployment.ledger, notebook, checks)
        self._deployment = deployment
        self._registry = registry
        self._pauses = pauses
        self._echoes = echoes
        self._progress = progress
        self._watcher = watcher
        self._recorded: int = self.stored("nextRound")
        self._next = 0
        self._last_digest = EMPTY
        self._last_model: bytes | None = None
        self._windows_seen = 0
        self._last_version = 0  # of the roster that recorded last
        self._awaits_scores: int | None = None  # dealers of the last settled training round without scores
        self.rewards = Rewards(-1, EMPTY, 0, (), 0)
        self.work: list[Work] = []
        self.scored = Thinned()
        self.earned = Thinned()
        self.marked: dict[int, int] = {}

    def advance_through(self, round_id: int) -> None:
        """Checks the rounds up to and with this one."""
        while self._next <= round_id and self.peek() is not None:
            self.step()
        if self.peek() is None:
            self._skip_to(self._recorded)

    def finish(self) -> None:
        """Checks the rest; notes those that are missing."""
        self.advance()
        self._skip_to(self._recorded)
        what, found = "recordingVersion in the ledger's storage", self.stored("recordingVersion")
        self.notebook.expect("round.state", what, self._last_version, found)
        self.notebook.expect("vault.terms", "the number of WindowsAdopted events", 1, self._windows_seen)
        self.notebook.checked.wei = sum(self.rewards.cumulative or ())

    def _on_windows(self, event: Event) -> None:
        found = (event.values["disputeWindowSeconds"], event.values["rulingSeconds"])
        expected = self._deployment.windows
        self._windows_seen += 1
        roster = self._registry.rosters.get(self._registry.newest_config(event.place))
        self._last_version = 1 if roster is not None and roster.version == 1 else 0
        self.notebook.expect("vault.terms", "what the ledger's event says of its windows", expected, found)

    def _on_disputed(self, event: Event) -> None:
        self._echoes.effect(event.tx, "challenge", event.values["round"])

    def _on_ruled(self, event: Event) -> None:
        self._echoes.effect(event.tx, "ruling", event.values["round"], event.values["isVoid"])

    def _on_paused(self, event: Event) -> None:
        self._echoes.effect(event.tx, "pause", event.values["number"], event.values["until"])

    def _on_recorded(self, event: Event) -> None:
        self._registry.advance(event.place)
        round_id = event.values["round"]
        if round_id >= self._recorded:
            self.notebook.note("round.extra", "an event tells of a round that the ledger has not recorded", round_id)
        elif round_id < self._next:
            self.notebook.note("round.order", "an event tells of this round out of its turn", round_id)
        else:
            self._skip_to(round_id)
            self._check(event, round_id)
            self._next = round_id + 1
            self.notebook.checked.rounds += 1
            if self._progress is not None:
                self._progress(self._next, self._recorded)

    def _skip_to(self, round_id: int) -> None:
        if self._next >= round_id:
            return
        span = f"round {self._next}" if round_id == self._next + 1 else f"rounds {self._next} to {round_id - 1}"
        self.notebook.note("round.missing", f"no event tells of {span}, which the ledger recorded", self._next)
        self._last_digest = self._stored(round_id - 1).digest
        self._last_model = self._awaits_scores = None
        self._next = round_id
        self._lose_rewards()

    def _check(self, event: Event, round_id: int) -> None:
        result = RoundResult(*event.values["result"])
        stored = self._stored(round_id)
        self._check_digest(result, event.values["digest"], stored.digest, round_id)
        self._check_marks(result, stored.marks, round_id)
        what, recorded_at = "when it was recorded, in the ledger's storage,", event.time
        self.notebook.expect("round.state", what, recorded_at, stored.recorded_at, round_id)
        if self._pauses.is_paused(event):
            self.notebook.note("round.paused", "the round was recorded while rounds were paused", round_id)
        roster = self._registry.roster_of(result.config, event.place)
        cumulative = None
        if roster is None:
            self.notebook.note("round.config", "the result names a roster that never was", round_id)
            self._lose_rewards()
        else:
            if roster.version < self._last_version:
                old, newer = roster.version, self._last_version
                self.notebook.note("round.superseded", f"roster {old} made it, roster {newer} the one before", round_id)
            self._last_version = roster.version
            self.work += [Work() for _ in range(len(roster.signers) - len(self.work))]
            self._check_content(result, roster, round_id)
            self._check_signatures(result, roster, event.values["signers"], event.values["signatures"], round_id)
            scores = self._checked_scores(result, event.values["scores"], len(roster.signers), round_id)
            cumulative = self._checked_rewards(result, scores, round_id)
            self._count(result, scores, cumulative, round_id)
        self.rewards = Rewards(
            round_id, result.rewards, result.rewards_total, cumulative, event.block, stored.recorded_at
        )
        whole = result.struct_hash()
        is_stored = whole[:STORED_BYTES] == stored.digest
        self._last_digest = whole if is_stored else stored.digest
        self._last_model = result.model
        if self._watcher is not None:
            place = self._deployment.chain_id, self._deployment.ledger
            self._watcher(CheckedRound(result, is_stored, roster, self._registry.names, *place))

    def _check_marks(self, result: RoundResult, marks: int, round_id: int) -> None:
        is_abandoned = bool(marks & OF_ABANDONED)
        what = "whether the ledger keeps it for abandoned"
        self.notebook.expect("round.state", what, result.outcome == ABANDONED, is_abandoned, round_id)
        if marks & ~OF_ABANDONED and len(self.marked) < MAX_MARKED:
            self.marked[round_id] = marks & ~OF_ABANDONED

    def _check_digest(self, result: RoundResult, told: bytes, stored: bytes, round_id: int) -> None:
        expect = self.notebook.expect
        expect("round.number", "the number in the result", round_id, result.round, round_id)
        expect("round.digest", "the digest in the event", result.struct_hash(), told, round_id)
        expect("round.storage", "the digest in the ledger's storage", result.stored_digest(), stored, round_id)
        # Of a round whose event is missing only the stored part is known.
        named = result.previous[: len(self._last_digest)]
        expect("round.previous", "the result named as the one before", self._last_digest, named, round_id)

    def _check_content(self, result: RoundResult, roster: KnownRoster, round_id: int) -> None:
        note, expect = self.notebook.note, self.notebook.expect
        if roster.training_rounds is not None:
            kind = kind_of(round_id, roster.training_rounds)
            expect("round.kind", "the kind of the round", kind, result.kind, round_id)
        if result.outcome not in _OUTCOMES:
            note("round.outcome", f"the outcome {result.outcome} does not exist", round_id)
        n = roster.active.bit_count()
        if result.dealers & ~roster.active:
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
        note = self.notebook.note
        if signers & ~roster.active:
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
            if is_signed_by(roster.signers[index], digest, signature):
                self.notebook.checked.signatures += 1
                self.work[index].results_signed += 1
            else:
                note("round.signature", f"the signature of member {index} is not that member's", round_id)

    def _checked_scores(self, result: RoundResult, packed: bytes, n: int, round_id: int) -> tuple[int, ...] | None:
        digest = keccak(packed) if packed else EMPTY
        self.notebook.expect("score.hash", "the digest of the scores", result.scores, digest, round_id)
        try:
            scores = unpack_scores(packed, n)
        except ValueError as error:
            self.notebook.note("score.length", str(error), round_id)
            return None
        if scores is not None and self._awaits_scores is None:
            # After a gap nobody can tell which round they are for.
            if self.rewards.cumulative is not None:
                self.notebook.note("score.unexpected", "there is no training round left to score", round_id)
        elif scores is not None:
            strangers = [i for i, score in enumerate(scores) if score and not (self._awaits_scores or 0) >> i & 1]
            if strangers:
                self.notebook.note("score.stranger", f"members {strangers} have a score without an update", round_id)
        return scores

    def _checked_rewards(
        self, result: RoundResult, scores: Sequence[int] | None, round_id: int
    ) -> tuple[int, ...] | None:
        """Everybody's wei after this round; None where that cannot be computed, or is not what was signed."""
        if scores is not None:
            self._awaits_scores = None
        if result.kind == TRAINING and result.outcome == SETTLED:
            self._awaits_scores = result.dealers
        cumulative = self._cumulative(result, scores, len(self.work))
        if cumulative is None:
            return None
        expect = self.notebook.expect
        self.notebook.checked.leaves += len(cumulative)
        what = "the sum of the rewards"
        right = expect("rewards.total", what, sum(cumulative), result.rewards_total, round_id)
        what = "the root of the rewards"
        right &= expect("rewards.root", what, rewards_root(cumulative), result.rewards, round_id)
        # What follows from a wrong sum is wrong as well; one finding says it.
        return cumulative if right else None

    def _cumulative(self, result: RoundResult, scores: Sequence[int] | None, n: int) -> tuple[int, ...] | None:
        before = self.rewards.cumulative
        if before is None or result.dealers >> n or (scores is not None and len(scores) != n):
            return None
        added = pay(self._deployment.terms, result.kind, result.outcome, result.dealers, scores, n)
        return tuple(old + new for old, new in zip_longest(before, added, fillvalue=0))

    def _count(
        self, result: RoundResult, scores: Sequence[int] | None, cumulative: Sequence[int] | None, round_id: int
    ) -> None:
        if result.kind == TRAINING and result.outcome == SETTLED:
            for index in members_of(result.dealers & ((1 << len(self.work)) - 1)):
                self.work[index].rounds_dealt += 1
        for work, score in zip(self.work, scores or (), strict=False):
            work.score_ppm += score
        self.scored.add(round_id, [work.score_ppm for work in self.work])
        if cumulative is not None:
            self.earned.add(round_id, cumulative)

    def _lose_rewards(self) -> None:
        if self.rewards.cumulative is not None:
            self.notebook.note("rewards.unknown", "from here on, pay cannot be computed from the events", self._next)
        self.rewards = Rewards(self._next - 1, EMPTY, 0, None, 0)

    def _stored(self, round_id: int) -> StoredRecord:
        return read_record(self.trail, self.address, round_id)


def kind_of(round_id: int, training_rounds: int) -> int:
    """What a round is for, by the number of training rounds in the published spec."""
    if round_id == 0:
        return STATISTICS
    return TRAINING if round_id <= training_rounds else CLOSING
