"""One member of a simulated world: its workshop, its disk, its log, and what it settled."""

from __future__ import annotations

from dataclasses import dataclass, field

from gossip import session as sessions
from gossip.events import (
    Event,
)
from gossip.pace import Pace
from gossip.record import RoundRecord
from gossip.session import Identity, RoundStart, Session
from gossip.values import RoundResult
from node.contribution import Learner
from node.workshop import Workshop
from sim.scenario import Crash


class MemoryBlobs:
    """A member's blobs; they survive its crashes."""

    def __init__(self) -> None:
        self._data: dict[bytes, tuple[int, bytes]] = {}
        self._secrets: dict[tuple[str, int], bytes] = {}

    def put_secret(self, what: str, round_id: int, data: bytes) -> None:
        self._secrets[what, round_id] = data

    def get_secret(self, what: str, round_id: int) -> bytes | None:
        return self._secrets.get((what, round_id))

    def put(self, name: bytes, round_id: int, data: bytes) -> None:
        self._data[name] = (round_id, data)

    def get(self, name: bytes) -> bytes | None:
        found = self._data.get(name)
        return None if found is None else found[1]

    def copy(self) -> MemoryBlobs:
        twin = MemoryBlobs()
        twin._data, twin._secrets = dict(self._data), dict(self._secrets)
        return twin

    def prune(self, oldest_round: int) -> None:
        """Forget what belongs to rounds before `oldest_round`."""
        self._data = {name: item for name, item in self._data.items() if item[0] >= oldest_round}
        self._secrets = {key: data for key, data in self._secrets.items() if key[1] >= oldest_round}


@dataclass(frozen=True, slots=True)
class Saved:
    """A member's disk at the beginning of a round, from which another world can go on."""

    start: RoundStart
    blobs: MemoryBlobs


@dataclass
class SimulatedNode:
    """One member: its disk (log, blobs), and, while it is up, its session and workshop.

    Attributes:
        index: its roster index.
        identity: as whom it takes part in the round under way.
    """

    index: int
    identity: Identity
    learner: Learner
    blobs: MemoryBlobs
    workshop: Workshop
    begun_with: RoundStart
    session: Session | None = None
    begun_at: float | None = None
    log: list[tuple[float, Event]] = field(default_factory=list)
    handled: int = 0
    life: int = 1
    crashes: dict[int, Crash] = field(default_factory=dict)
    will_return: bool = True
    next_start: RoundStart | None = None
    conduct: sessions.Conduct = field(default_factory=sessions.Conduct)
    pace: Pace = field(default_factory=Pace)
    results: dict[int, RoundResult] = field(default_factory=dict)
    models: dict[int, bytes] = field(default_factory=dict)
    records: dict[int, RoundRecord] = field(default_factory=dict)
    evidence: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def me(self) -> int:
        return self.identity.me

    @property
    def is_up(self) -> bool:
        return self.session is not None

    @property
    def round(self) -> int:
        return self.begun_with.round
