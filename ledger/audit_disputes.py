"""Fourth part of an audit: what members proved, challenged and ruled, each proof and each quorum examined again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ledger.approvals import Approval, MemberRuling, RoundRuling, Statement
from ledger.audit_registry import RegistryAudit
from ledger.deployment import Deployment
from ledger.echoes import Echoes
from ledger.findings import Notebook
from ledger.model_disputes import contradiction
from ledger.model_state import is_signed_by
from ledger.replay import Replay, check_room
from ledger.rosters import count_signatures
from ledger.standing import DisputedRound, VoidRounds
from ledger.stored import OF_CHALLENGED, OF_DISMISSED, OF_VOID, read_record
from ledger.trail import Event, Trail
from ledger.types import ZERO_ADDRESS, RoundResult


@dataclass(slots=True)
class _Contested:
    """A round that was challenged or ruled on.

    Attributes:
        recorded_at: when the ledger recorded it, as it stores.
        challenger: roster index of the member whose bond is locked for it; None if none is.
        marks: what the ledger has to store of this.
        below: every later round below this one is void with it.
    """

    recorded_at: int
    challenger: int | None = None
    marks: int = 0
    below: int = 0

    @property
    def is_challenged(self) -> bool:
        """The ledger waits for a ruling, or waited until its time was over."""
        return bool(self.marks & OF_CHALLENGED)


class DisputesAudit(Replay):
    """Replays the events of Disputes as far as asked; keeps of each only which round it was about, or which offence.

    What Disputes did to the ledger and to the vault goes into `echoes`, where those have to tell of the same.
    """

    def __init__(
        self, trail: Trail, deployment: Deployment, registry: RegistryAudit, echoes: Echoes, notebook: Notebook
    ) -> None:
        checks = {
            "BondAdopted": self._on_bond,
            "EquivocationProven": self._on_equivocation,
            "ResultEquivocationProven": self._on_two_results,
            "RoundChallenged": self._on_challenged,
            "RoundRulingMade": self._on_round_ruling,
            "ChallengeLapsed": self._on_lapsed,
            "MemberRulingMade": self._on_member_ruling,
        }
        super().__init__(trail, "Disputes", deployment.disputes, notebook, checks)
        self._deployment = deployment
        self._registry = registry
        self._echoes = echoes
        self._bonds_seen = 0
        self._contested: dict[int, _Contested] = {}
        self._punished: set[bytes] = set()

    def final_at(self, round_id: int, recorded_at: int, now: int = 0) -> int:
        """When the time for challenging and ruling on a round that was recorded then is over, in Unix seconds.

        A challenge of an earlier round, whose time is not over at `now`, holds it as well.
        """
        window, ruling = self._deployment.windows
        own = self._contested.get(round_id)
        end = recorded_at + window + (ruling if own is not None and own.is_challenged else 0)
        for earlier, contested in self._contested.items():
            until = contested.recorded_at + window + ruling
            # Of thousands, as an endpoint may tell of, only those that move the end are worth a look at all the others.
            if earlier < round_id and contested.is_challenged and until > max(now, end) and not self.is_void(earlier):
                end = until
        return end

    def is_void(self, round_id: int) -> bool:
        """Whether a quorum ruled that the round's rewards are wrong, or those of an earlier one, which they contain."""
        return any(first <= round_id < contested.below for first, contested in self._contested.items())

    def void_rounds(self) -> list[VoidRounds]:
        """The rounds that each ruling made void."""
        found = sorted((first, contested.below) for first, contested in self._contested.items())
        return [VoidRounds(first, below - 1) for first, below in found if below > first]

    def disputed_rounds(self, now: int) -> list[DisputedRound]:
        """The rounds that wait for a ruling at this time."""
        found = []
        for round_id, contested in sorted(self._contested.items(), key=lambda item: item[0]):
            until = contested.recorded_at + sum(self._deployment.windows)
            if contested.is_challenged and until > now and not self.is_void(round_id):
                found.append(DisputedRound(round_id, until))
        return found

    def finish(self, marked: Mapping[int, int]) -> None:
        """Goes through all events, then compares what comes of them with storage; `marked` are the ledger's marks."""
        self.advance()
        self.notebook.expect("vault.terms", "the number of BondAdopted events", 1, self._bonds_seen)
        for round_id, contested in self._contested.items():
            locked = 0 if contested.challenger is None else contested.challenger + 1
            found = self.stored("challengerOf", round_id)
            self.notebook.expect("dispute.storage", "the challenger in storage", locked, found, round_id)
        for round_id in sorted(marked.keys() | self._contested.keys()):
            told, kept = self._contested.get(round_id), marked.get(round_id, 0)
            what = "what the ledger's storage says of challenges and rulings"
            self.notebook.expect("dispute.storage", what, 0 if told is None else told.marks, kept, round_id)

    def _of(self, round_id: int) -> _Contested:
        if round_id not in self._contested:
            check_room(self._contested, "dispute.bound", "rounds that were disputed")
            stored = read_record(self.trail, self._deployment.ledger, round_id)
            self._contested[round_id] = _Contested(stored.recorded_at)
        return self._contested[round_id]

    def _on_bond(self, event: Event) -> None:
        self._bonds_seen += 1
        bond = self._deployment.bond_wei
        self.notebook.expect("vault.terms", "what the event says of bonds", bond, event.values["bondWei"])

    # Two statements of one member.

    def _on_equivocation(self, event: Event) -> None:
        first = Statement(*event.values["statement"])
        second = replace(first, digest=event.values["otherDigest"])
        signatures = (event.values["signature"], event.values["otherSignature"])
        self._check_contradiction(event, first.config, (first, second), signatures)

    def _on_two_results(self, event: Event) -> None:
        first, second = (RoundResult(*event.values[name]) for name in ("first", "second"))
        signatures = (event.values["firstSignature"], event.values["secondSignature"])
        same = (first.round, first.config) == (second.round, second.config)
        if not same:
            self.notebook.note("dispute.proof", "two results of different rounds contradict nothing", first.round)
        self._check_contradiction(event, first.config, (first, second), signatures)

    def _check_contradiction(
        self,
        event: Event,
        config: bytes,
        said: tuple[Statement | RoundResult, Statement | RoundResult],
        signatures: tuple[bytes, bytes],
    ) -> None:
        index, round_id = event.values["index"], said[0].round
        note = self.notebook.note
        if said[0].struct_hash() == said[1].struct_hash():
            note("dispute.proof", f"member {index} was slashed for saying the same thing twice", round_id)
        roster = self._registry.roster_of(config, event.place)
        signer = roster.signers[index] if roster is not None and index < len(roster.signers) else ZERO_ADDRESS
        for part, signature in zip(said, signatures, strict=True):
            digest = part.signing_digest(self._deployment.chain_id, self._deployment.ledger)
            if signer == ZERO_ADDRESS or not is_signed_by(signer, digest, signature):
                note("dispute.proof", f"member {index} was slashed for what it did not sign", round_id)
            else:
                self.notebook.checked.approvals += 1
        self._punish(contradiction(index, said[0].struct_hash(), said[1].struct_hash()), round_id)
        self._echoes.cause(event.tx, "slash", index, event.values["slashedWei"])

    def _punish(self, offence: bytes, round_id: int | None = None) -> None:
        if offence in self._punished:
            self.notebook.note("dispute.repeated", "one offence was punished twice", round_id)
        else:
            check_room(self._punished, "dispute.bound", "offences that were punished")
        self._punished.add(offence)
        what = f"whether offence {offence.hex()} is punished, in storage,"
        self.notebook.expect("dispute.storage", what, True, self.stored("isPunished", offence), round_id)

    # Challenges and rulings.

    def _on_challenged(self, event: Event) -> None:
        round_id, index = event.values["round"], event.values["index"]
        self._registry.advance(event.place)
        if not self._registry.is_active(index):
            self.notebook.note("dispute.state", f"member {index}, which is not on the roster, challenged it", round_id)
        contested = self._of(round_id)
        if contested.marks or not self._is_before(event, round_id):
            self.notebook.note("dispute.state", "it was challenged when it could not be", round_id)
        contested.challenger, contested.marks = index, contested.marks | OF_CHALLENGED
        self._echoes.cause(event.tx, "challenge", round_id)
        self._echoes.cause(event.tx, "bond", index, self._deployment.bond_wei)

    def _on_round_ruling(self, event: Event) -> None:
        round_id, is_void, evidence = (event.values[name] for name in ("round", "isVoid", "evidence"))
        config = event.values["config"]
        self._check_quorum(event, f"the ruling on round {round_id}", RoundRuling(config, round_id, is_void, evidence))
        contested = self._of(round_id)
        possible = not self.is_void(round_id) and (is_void or contested.is_challenged)
        if not possible or not self._is_before(event, round_id):
            self.notebook.note("dispute.state", "it was ruled on when it could not be", round_id)
        self._echoes.cause(event.tx, "ruling", round_id, is_void)
        self._release(event, contested, is_forfeited=not is_void)
        contested.marks = contested.marks & ~OF_CHALLENGED | (OF_VOID if is_void else OF_DISMISSED)
        contested.below = event.values["below"] if is_void else 0
        if not self._is_range(event, round_id, event.values["below"], is_void):
            self.notebook.note("dispute.state", "it voided other rounds than those recorded by then", round_id)

    def _on_lapsed(self, event: Event) -> None:
        round_id = event.values["round"]
        contested = self._of(round_id)
        is_open = not self.is_void(round_id) and self._is_before(event, round_id)
        if contested.challenger is None or is_open:
            self.notebook.note("dispute.state", "its challenge lapsed when it could not", round_id)
        self._release(event, contested, is_forfeited=not self.is_void(round_id))

    def _on_member_ruling(self, event: Event) -> None:
        index, amount, evidence = (event.values[name] for name in ("index", "amountWei", "evidence"))
        ruling = MemberRuling(event.values["config"], index, amount, evidence)
        self._check_quorum(event, f"the ruling on member {index}", ruling)
        slashed = event.values["slashedWei"]
        if slashed > amount:
            self.notebook.note("dispute.state", f"member {index} lost {slashed} wei by a ruling over {amount}")
        self._punish(ruling.struct_hash())
        self._echoes.cause(event.tx, "slash", index, slashed)

    def _is_range(self, event: Event, round_id: int, below: int, is_void: bool) -> bool:
        """Whether a ruling is about the rounds from this one to the last one recorded by then, or about it alone."""
        if not is_void or below <= round_id:
            return below == round_id + 1
        ledger = self._deployment.ledger
        last, following = (read_record(self.trail, ledger, each).recorded_at for each in (below - 1, below))
        return 0 < last <= event.time and (following == 0 or following >= event.time)

    def _release(self, event: Event, contested: _Contested, *, is_forfeited: bool) -> None:
        if contested.challenger is not None:
            bond = self._deployment.bond_wei
            self._echoes.cause(event.tx, "release", contested.challenger, bond, is_forfeited)
        contested.challenger = None

    def _is_before(self, event: Event, round_id: int) -> bool:
        return event.time < self.final_at(round_id, self._of(round_id).recorded_at)

    def _check_quorum(self, event: Event, what: str, ruling: Approval) -> None:
        values: Any = event.values
        newest = self._registry.newest_config(event.place)
        self.notebook.expect("dispute.quorum", f"the config digest under {what}", newest, values["config"])
        roster = self._registry.roster_of(newest, event.place)
        if roster is not None:
            digest = ruling.signing_digest(self._deployment.chain_id, self._deployment.disputes)
            signers, signatures = values["signers"], values["signatures"]
            count_signatures(self.notebook, "dispute.quorum", what, digest, signers, signatures, roster)
