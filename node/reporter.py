"""What a node tells about itself, in its log, its progress and its status: names and numbers, nothing secret."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime

import structlog

from gossip.events import Blame, Missed
from gossip.results import result_digest
from gossip.transport import Statistics
from gossip.values import RoundResult
from node import meters
from node.admission import Admission
from node.progress import Progress

log = structlog.get_logger()


class Reporter:
    """Tells what happens to one member's node.

    Args:
        me: the member's name.
        admission: who is called what.
        connected: PeerIDs that there are live connections to.
    """

    def __init__(
        self,
        progress: Progress,
        me: str,
        admission: Admission,
        connected: Callable[[], frozenset[str]],
    ) -> None:
        self._progress = progress
        self._me = me
        self._admission = admission
        self._connected = connected
        self._last_heard: dict[str, str] = {}
        self._blamed: Counter[tuple[str, str]] = Counter()
        self._faults: Counter[tuple[str, str]] = Counter()
        self._told: dict[str, object] = {}

    def replayed(self, round_id: int, count: int) -> None:
        log.info("node.replayed", round=round_id, events=count)
        self._progress.note("replayed", round=round_id, events=count)

    def entered(self, round_id: int, phase: str, attempt: int) -> None:
        log.debug("round.entered", round=round_id, phase=phase, attempt=attempt)
        self._progress.note("entered", round=round_id, phase=phase, attempt=attempt)
        self._progress.state.pop("waiting_for", None)
        self.status(round=round_id, phase=phase, attempt=attempt)

    def found(self, round_id: int, finding: Blame | Missed) -> None:
        """A member was blamed, or waited for in vain."""
        if isinstance(finding, Blame):
            name = self._admission.name_at(finding.member)
            self._blamed[name, finding.reason] += 1
            log.warning("member.blamed", round=round_id, member=name, reason=finding.reason)
            self._progress.note("blamed", round=round_id, member=name, reason=finding.reason)
            return
        names = [self._admission.name_at(member) for member in finding.members]
        last_heard = {name: self._last_heard.get(name) for name in names}
        log.warning("member.missed", round=round_id, phase=finding.phase, members=names, last_heard=last_heard)
        self._progress.note("missed", round=round_id, phase=finding.phase, members=names)
        missing = {"round": round_id, "phase": finding.phase, "members": names, "since": _now()}
        self.status(missing=missing | {"last_heard": last_heard})

    def settled(
        self, result: RoundResult, attempt: int | None, seconds: float | None, extra: dict[str, object]
    ) -> None:
        """A round is over; `attempt` and `seconds` are None where others ended it while this node was away."""
        summary = {
            "round": result.round,
            "attempt": attempt,
            "dealers": [self._admission.members[i] for i in sorted(result.dealer_set)],
            "seconds": None if seconds is None else round(seconds, 3),
            "model_digest": result.model.hex(),
            "result_digest": result_digest(result).hex(),
        }
        log.info("round.settled" if attempt is not None else "round.caught_up", outcome=result.outcome, **summary)
        self._progress.note("settled", outcome=result.outcome, scores=result.scores, **summary, **extra)
        self.status(last=summary, **extra)

    def admitted(self, version: int, count: int) -> None:
        """The registry shows another roster than before."""
        log.info("roster.changed", version=version, members=count)
        self._progress.note("roster", version=version, members=count)
        self.status(roster={"version": version, "members": count})

    def waiting(self, reason: str) -> None:
        """The next round cannot begin yet, and why."""
        log.info("round.waiting", reason=reason)
        self.status(phase="WAITING", waiting_for=reason)

    def seated(self, round_id: int, members: int) -> None:
        """Another committee than before makes the rounds from this one on."""
        log.info("committee.changed", round=round_id, members=members)
        self._progress.note("committee", round=round_id, members=members)

    async def recorded(self, round_id: int, tx: str) -> None:
        log.info("result.recorded", round=round_id, tx=tx)
        self._progress.note("recorded", round=round_id, tx=tx)

    def ledger(self, waiting: int, trouble: str | None) -> None:
        """How many results wait for the ledger, and why it takes none."""
        self.status(ledger={"waiting": waiting} if trouble is None else {"waiting": waiting, "trouble": trouble})

    def heard(self, peer_id: str) -> None:
        """The member said something just now, whatever it was."""
        self._last_heard[self._admission.name_of(peer_id)] = _now()

    def connected(self, peer_id: str) -> None:
        log.info("peer.connected", peer=self._admission.name_of(peer_id))
        self.status()

    def lost(self, peer_id: str) -> None:
        log.info("peer.lost", peer=self._admission.name_of(peer_id))
        self.status()

    def network(self, statistics: Statistics) -> None:
        """What the transport counted: new faults go into the log, everything into status and metrics."""
        name_of = self._admission.name_of
        faults: dict[str, dict[str, int]] = {}
        for peer_id, found in statistics.faults.items():
            # An admitted member may have had another node key before.
            of_member = faults.setdefault(name_of(peer_id), {})
            for fault, count in found.items():
                of_member[fault] = of_member.get(fault, 0) + count
        for name, found in faults.items():
            for fault, count in found.items():
                if count > self._faults[name, fault]:
                    log.warning("peer.misbehaved", peer=name, fault=fault, count=count)
                    self._faults[name, fault] = count
        seen = {
            "faults": faults,
            "unreachable": {name_of(peer_id): why for peer_id, why in statistics.dial_failures.items()},
            "through": {name_of(peer_id): name_of(via) for peer_id, via in statistics.relayed.items()},
            "strangers_refused": statistics.strangers_refused,
            "handshakes_failed": statistics.handshakes_failed,
        }
        if seen != self._told:
            self._told = seen
            self.status(network=seen)
        text = meters.render(meters.samples(statistics, self._admission.names, self._blamed))
        self._progress.write_meters(text)

    def status(self, **values: object) -> None:
        """Renew the status file."""
        connected = sorted(map(self._admission.name_of, self._connected()))
        self._progress.update(name=self._me, connected=connected, **values)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
