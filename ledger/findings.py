"""What an audit hands back: what it checked, and what is wrong, under codes that do not change."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

MAX_FINDINGS: Final = 500
"""A hostile endpoint could fill the memory with false rounds; what lies beyond is counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it has to be.

    Attributes:
        code: what kind of thing, e.g. "round.signature"; docs/reference lists them.
        round_id: the round that it concerns, None if none.
        text: one sentence.
    """

    code: str
    round_id: int | None
    text: str


@dataclass(slots=True)
class Checked:
    """How much was looked at.

    Attributes:
        members: entries of the roster.
        rounds: recorded rounds.
        signatures: valid signatures on them, each recovered again.
        leaves: leaves of the reward trees that were computed again.
        wei: cumulative rewards after the last round, computed again from the scores.
        codes: contract codes compared with the artifacts.
    """

    members: int = 0
    rounds: int = 0
    signatures: int = 0
    leaves: int = 0
    wei: int = 0
    codes: int = 0


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The outcome of one audit.

    Attributes:
        ok: nothing was found.
        chain_id, registry, block: what was audited, up to which block.
        checked: how much was looked at.
        findings: what is wrong, in the order in which it was met.
    """

    ok: bool
    chain_id: int
    registry: str
    block: int
    checked: Checked
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "ok": self.ok,
            "chain_id": self.chain_id,
            "registry": self.registry,
            "block": self.block,
            "checked": asdict(self.checked),
            "findings": [
                {"code": finding.code, "round": finding.round_id, "text": finding.text} for finding in self.findings
            ],
        }


@dataclass(slots=True)
class Notebook:
    """Findings and counts as an audit gathers them."""

    checked: Checked = field(default_factory=Checked)
    findings: list[Finding] = field(default_factory=list)
    left_out: int = 0

    def note(self, code: str, text: str, round_id: int | None = None) -> None:
        """Keeps one finding, or counts it where there are too many already."""
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(code, round_id, text))
        else:
            self.left_out += 1

    def expect(self, code: str, what: str, expected: object, found: object, round_id: int | None = None) -> bool:
        """Whether `found` is what was expected; notes both where it is not."""
        if expected == found:
            return True
        self.note(code, f"{what} is {shown(found)}, expected {shown(expected)}", round_id)
        return False

    def report(self, chain_id: int, registry: str, block: int) -> AuditReport:
        """Everything gathered."""
        if self.left_out:
            self.findings.append(Finding("findings.more", None, f"{self.left_out} more findings are left out"))
        return AuditReport(not self.findings, chain_id, registry, block, self.checked, tuple(self.findings))


def shown(value: object) -> str:
    """`value` as a finding shows it: bytes in hex, text of others shortened and escaped."""
    text = "0x" + value.hex() if isinstance(value, bytes) else str(value)
    text = text.encode("unicode_escape").decode("ascii")
    return text if len(text) <= 140 else f"{text[:140]}..."
