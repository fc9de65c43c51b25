"""What an audit hands back: what it checked, and what is wrong, under codes that do not change."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from eth_hash.auto import keccak

from ledger import artifacts
from ledger.standing import Funds, Standing, notices
from ledger.thinned import Point
from ledger.types import ZERO_ADDRESS

MAX_FINDINGS: Final = 100
"""Of one kind: a hostile endpoint could fill the memory with false rounds, or drown in them what matters."""

CODES: Final = {
    "code.mismatch": "the code at an address is not the contract's",
    "code.immutable": "the code names another registry, ledger, chain or domain",
    "code.creation": "a contract was made by another constructor than the published one, or not as events tell",
    "code.roster": "the signers that the ledger reads are not those of the roster",
    "log.unreadable": "a log that the contract cannot have written, or out of the chain's order",
    "roster.member": "a member's entry differs between events and storage, or comes out of turn",
    "roster.missing": "no event tells of a roster",
    "roster.size": "more members than a registry holds",
    "roster.version": "a roster's version is not the next one",
    "roster.quorum": "a roster's quorum is not floor(2n/3) + 1",
    "roster.active": "a roster's active members are not those admitted",
    "roster.config": "a config digest is not that of chain, registry, roster and spec",
    "roster.storage": "the registry stores something else than its events tell",
    "roster.approval": "a change that no quorum, or not the member's account, has allowed",
    "roster.change": "a change without the roster that it makes, or a roster without a change",
    "roster.rotation": "a member rotated its keys more often than once a day",
    "spec.delay": "a specification holds that was not proposed, or not for long enough",
    "spec.digest": "the spec in the event is not the one that was signed for",
    "spec.unreadable": "the published spec does not say how many rounds there are",
    "round.missing": "the ledger recorded a round that no event tells of",
    "round.extra": "an event tells of a round that the ledger has not recorded",
    "round.order": "a round comes twice, or before an earlier one",
    "round.number": "the result has another number than its event",
    "round.digest": "the digest in the event is not that of the result",
    "round.storage": "the ledger stores the digest of another result",
    "round.previous": "the result does not name the one before",
    "round.config": "the result was made by a roster that never was",
    "round.kind": "the round is of another kind than the spec says",
    "round.outcome": "an outcome that does not exist",
    "round.dealers": "too few dealers, or some outside the roster",
    "round.deals": "a settled round without Deals, or an abandoned one with some",
    "round.model": "an abandoned round changed the model",
    "round.signers": "a signer is outside the roster",
    "round.quorum": "fewer members signed than a quorum",
    "round.signature": "a signature is not that member's, or missing",
    "round.superseded": "a result of a roster older than one that recorded before",
    "round.paused": "the round was recorded while rounds were paused",
    "round.state": "the ledger stores another roster or another pause than its events tell",
    "pause.approval": "no quorum of the newest roster paused the rounds",
    "pause.terms": "a pause is out of turn, or longer than the contract allows",
    "score.hash": "the scores are not those that were signed",
    "score.length": "there is not one score for each member",
    "score.unexpected": "there was no training round left to score",
    "score.stranger": "a member has a score without an update in the scored round",
    "rewards.root": "the tree of rewards does not follow from the scores",
    "rewards.total": "the sum of rewards does not follow from the scores",
    "rewards.unknown": "from a round on, pay cannot be computed",
    "root.unknown": "rewards of a round that no event records became active",
    "root.order": "rewards became active before newer ones, or before they were recorded",
    "root.mismatch": "another root than the recorded one became active",
    "root.total": "another total than the recorded one became active",
    "root.unfunded": "more became active than was paid in",
    "root.early": "rewards became active before their round was final",
    "root.void": "rewards became active that a quorum had found wrong",
    "claim.member": "somebody outside the roster was paid",
    "claim.account": "the payment went to another account than the member's",
    "claim.amount": "the payment is not what the member was still owed by its own event",
    "claim.leaf": "a member was paid up to another sum than it earned",
    "claim.inactive": "a payment before any rewards were active",
    "claim.sum": "more was paid than is active",
    "claim.storage": "the vault stores another sum for a member than its events tell",
    "stake.member": "a stake of somebody who is no member",
    "stake.amount": "more of a stake was moved than there was",
    "stake.early": "a stake was free before its unbonding was over",
    "stake.account": "a stake went to another account than the member's",
    "stake.storage": "the vault stores another stake than its events tell",
    "revenue.round": "revenue for rewards that were not active, or that nobody paid",
    "revenue.share": "a member's part of revenue does not follow from its rewards",
    "revenue.account": "revenue went to another account than the member's",
    "revenue.bound": "more rounds drew revenue than an audit keeps in mind: what came later was not looked at",
    "revenue.storage": "the vault stores another revenue than its events tell",
    "dispute.proof": "a member was slashed for contradicting itself, and the statements do not show it",
    "dispute.repeated": "a member was punished twice for the same",
    "dispute.quorum": "no quorum of the newest roster made a ruling",
    "dispute.state": "a challenge, a ruling or a lapse that the state of things did not allow",
    "dispute.echo": "two contracts tell different things of one dispute",
    "dispute.bound": "more disputes, slashes or pauses than an audit keeps in mind: what came later was not looked at",
    "dispute.storage": "a dispute ended otherwise than its events tell",
    "vault.terms": "the terms in the event are not those in the code",
    "vault.storage": "the vault stores something else than its events tell",
    "vault.balance": "the vault holds less than was paid in and not out",
    "record.unreadable": "a file is no round's record",
    "record.result": "a record tells of a result that the ledger does not hold",
    "record.spec": "a record is of another task than the registry's",
    "record.statement": "the statements in a round's records do not show what the result and the records say",
    "record.deals": "the result's root is not that of the dealers' Deals",
    "model.unknown": "a model file is the outcome of no recorded round",
    "findings.more": "there are more findings than the report holds",
}
"""Every code that a finding may have, and what it says."""

_ASK_ANOTHER: Final = "Audit again through an endpoint of somebody else: this one leaves out or changes what it shows."

_ADVICE: Final = {
    "code": "Do not trust this address: ask every member separately which registry the consortium agreed on.",
    "code.roster": _ASK_ANOTHER,
    "log": _ASK_ANOTHER,
    "roster": _ASK_ANOTHER,
    "roster.quorum": "Do not trust this registry: ask every member separately which one the consortium agreed on.",
    "roster.approval": "If another endpoint shows the same, trust no roster from there on: ask the members who allowed "
    "it.",
    "roster.rotation": "Ask the member whether both rotations were its own: its account's key may be stolen.",
    "spec": "Ask the members for the specification that they signed, and compare its digest with the registry's.",
    "round": _ASK_ANOTHER,
    "round.missing": "Audit again through another endpoint; if the round is missing there too, ask the members for it.",
    "round.kind": "A quorum signed a round that the specification does not have: ask the signers why.",
    "round.dealers": "A quorum signed a sum that hides nobody, or holds a stranger: ask the signers why.",
    "round.deals": "A quorum signed a result that contradicts itself: ask the signers why.",
    "round.model": "A quorum signed a model that no round made: go back to the model before, and ask the signers why.",
    "round.superseded": "If another endpoint shows the same, a former roster still signs: ask its members why.",
    "pause": "If another endpoint shows the same, rounds were stopped against the rules: ask the signers why.",
    "score": "If another endpoint shows the same, a quorum signed scores that the rules do not allow: ask the signers.",
    "rewards": "If another endpoint shows the same, a quorum signed false pay: tell all members before the dispute "
    "window ends, and activate nothing.",
    "rewards.unknown": "Settle the finding before this one; until then nobody can check pay from that round on.",
    "root.unknown": _ASK_ANOTHER,
    "root": "If another endpoint shows the same, false rewards became active: tell all members before anybody claims.",
    "root.unfunded": "Ask who was to fund the vault; until then not every claim can be paid.",
    "root.void": "If another endpoint shows the same, rewards that a quorum refused can be claimed: tell all members.",
    "stake": "If another endpoint shows the same, a member's stake is not safe: tell that member, and keep this "
    "report as evidence.",
    "stake.storage": _ASK_ANOTHER,
    "revenue": "If another endpoint shows the same, revenue was shared wrongly: tell all members, and keep this report "
    "as evidence.",
    "revenue.bound": _ASK_ANOTHER,
    "revenue.storage": _ASK_ANOTHER,
    "dispute": "If another endpoint shows the same, a member lost money against the rules: tell that member, and keep "
    "this report as evidence.",
    "dispute.bound": _ASK_ANOTHER,
    "dispute.echo": _ASK_ANOTHER,
    "dispute.storage": _ASK_ANOTHER,
    "claim": "If another endpoint shows the same, money went out that was not earned: keep this report as evidence.",
    "claim.storage": _ASK_ANOTHER,
    "vault": _ASK_ANOTHER,
    "vault.balance": "If another endpoint shows the same, not every claim can be paid: tell all members.",
    "record": "Ask the member whose record it is for its file, and others for theirs; one record may lack what another "
    "holds.",
    "record.statement": "Ask other members for their records of that round, and audit them together; if nobody's shows "
    "it, ask the signers why.",
    "model": "Ask its giver for `mycelia export --agreed`, and of which consortium it is.",
    "findings": "Mend or explain the findings above first, then audit again.",
}


def advice(code: str) -> str:
    """What to do about a finding of this kind."""
    return _ADVICE.get(code) or _ADVICE[code.partition(".")[0]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it has to be.

    Attributes:
        code: one of `CODES`.
        round_id: the round that it concerns, None if none.
        text: one sentence.
    """

    code: str
    round_id: int | None
    text: str

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON values, with what its code means and what to do about it."""
        code = self.code
        return {
            "code": code, "round": self.round_id, "text": self.text, "says": CODES[code], "advice": advice(code)
        }  # fmt: skip


@dataclass(slots=True)
class Checked:
    """How much was looked at.

    Attributes:
        members: entries of the roster.
        rounds: recorded rounds.
        signatures: valid signatures on them, each recovered again.
        approvals: valid signatures beside results: of changes, pauses, rulings and proofs, each recovered again.
        leaves: leaves of the reward trees that were computed again.
        wei: cumulative rewards after the last round, computed again from the scores.
        codes: contract codes compared with the artifacts.
    """

    members: int = 0
    rounds: int = 0
    signatures: int = 0
    approvals: int = 0
    leaves: int = 0
    wei: int = 0
    codes: int = 0


@dataclass(frozen=True, slots=True)
class MemberSummary:
    """What one member did and got, as computed from the events.

    Attributes:
        name, account: as the registry holds them last.
        rounds_dealt: settled training rounds whose sum holds its update.
        results_signed: results that carry its valid signature.
        score_ppm: sum of its scores.
        earned_wei: its cumulative reward; None from where it could not be computed.
        claimed_wei: what was paid to it.
        revenue_wei: what it received of what others paid for the model.
        staked_wei: its stake, in whatever state.
        slashed_wei: what it lost of its stake.
        is_active: it has not left or been removed.
        signer: address of the key that it signs with, as the registry holds it last.
    """

    name: str
    account: str
    rounds_dealt: int
    results_signed: int
    score_ppm: int
    earned_wei: int | None
    claimed_wei: int
    revenue_wei: int = 0
    staked_wei: int = 0
    slashed_wei: int = 0
    is_active: bool = True
    signer: str = ""


@dataclass(frozen=True, slots=True)
class Curves:
    """Sums for each member over the rounds; of many rounds, evenly spaced ones.

    Attributes:
        score_ppm: of the scores that became known.
        earned_wei: of the rewards.
        claimed_wei: of the payments, by the round whose rewards were active.
    """

    score_ppm: tuple[Point, ...] = ()
    earned_wei: tuple[Point, ...] = ()
    claimed_wei: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The outcome of one audit.

    Attributes:
        ok: nothing was found.
        chain_id, registry: what was audited.
        block, block_hash, block_time: up to where.
        checked: how much was looked at.
        findings: what is wrong, in the order in which it was met.
        members: by roster index.
        curves: what became of the members over the rounds.
        funds: what came into the vault, what it is for, and what went out.
        standing: what became of the consortium.
        asset: the token that the vault pays in; the zero address for the chain's own coin.
        config: config digest of the newest roster, by which members can say whether it is theirs.
        fingerprint: of the consortium, by which they can say whether its founders are theirs.
    """

    ok: bool
    chain_id: int
    registry: str
    block: int
    checked: Checked
    findings: tuple[Finding, ...]
    block_hash: bytes = b""
    block_time: int = 0
    members: tuple[MemberSummary, ...] = ()
    curves: Curves = Curves()
    funds: Funds = field(default_factory=Funds)
    standing: Standing = field(default_factory=Standing)
    asset: str = ZERO_ADDRESS
    config: bytes = b""
    fingerprint: bytes = b""

    @property
    def notices(self) -> tuple[str, ...]:
        """What is no contradiction, and a reader must not overlook, in words."""
        return notices(self.standing, self.funds, self.asset, self.block_time)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "ok": self.ok,
            "chain_id": self.chain_id,
            "registry": self.registry,
            "block": self.block,
            "block_hash": "0x" + self.block_hash.hex(),
            "block_time": self.block_time,
            "checked": asdict(self.checked),
            "findings": [finding.as_json() for finding in self.findings],
            "notices": list(self.notices),
            "artifacts": {
                name: "0x" + keccak(artifacts.load(name).deployed_bytecode).hex() for name in artifacts.NAMES
            },
            "config": "0x" + self.config.hex(),
            "fingerprint": "0x" + self.fingerprint.hex(),
            "asset": self.asset,
            **self.funds.as_json(),
            **asdict(self.standing),
            "members": [asdict(member) for member in self.members],
            "curves": asdict(self.curves),
        }


@dataclass(slots=True)
class Notebook:
    """Findings and counts as an audit gathers them."""

    checked: Checked = field(default_factory=Checked)
    findings: list[Finding] = field(default_factory=list)
    left_out: int = 0
    _kinds: Counter[str] = field(default_factory=Counter)

    def note(self, code: str, text: str, round_id: int | None = None) -> None:
        """Keeps one finding, or counts it where there are too many of its kind."""
        self._kinds[code] += 1
        if self._kinds[code] <= MAX_FINDINGS:
            self.findings.append(Finding(code, round_id, text))
        else:
            self.left_out += 1

    def expect(self, code: str, what: str, expected: object, found: object, round_id: int | None = None) -> bool:
        """Whether `found` is what was expected; notes both where it is not."""
        if expected == found:
            return True
        self.note(code, f"{what} is {shown(found)}, expected {shown(expected)}", round_id)
        return False

    def all_findings(self) -> tuple[Finding, ...]:
        """Those that were kept, and how many were not."""
        more = [Finding("findings.more", None, f"{self.left_out} more left out")] if self.left_out else []
        return (*self.findings, *more)

    def report(self, chain_id: int, registry: str, block: int, **rest: Any) -> AuditReport:
        """Everything gathered, with the `rest` of the report's attributes."""
        found = self.all_findings()
        return AuditReport(not found, chain_id, registry, block, self.checked, found, **rest)


def _code_digest(name: str) -> str:
    return "0x" + keccak(artifacts.load(name).deployed_bytecode).hex()


def shown(value: object) -> str:
    """`value` as a finding shows it: bytes in hex, text of others shortened and escaped."""
    text = "0x" + value.hex() if isinstance(value, bytes) else str(value)
    text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= 140 else f"{text[:140]}..."
