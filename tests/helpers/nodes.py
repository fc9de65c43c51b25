"""Nodes in one process: real runner, session, workshop and store; the network and the chain are made of memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import trio
from numpy.typing import NDArray

from gossip.committee import Committee
from gossip.errors import PeerUnreachable, TransferRefused
from gossip.session import Identity, RoundStart
from gossip.spec import RoundKind, TaskSpec, blob_digest, blob_hasher
from gossip.state import Timing
from gossip.statements import Domain, address_of, sign
from gossip.transport import PeerAddress, Statistics, peer_id_of
from gossip.transport.payloads import Memory, Partial, Source
from ledger.periods import Period
from ledger.types import Member, Roster, VaultTerms
from node.contribution import Contribution, PublicSums
from node.errors import StoreError
from node.progress import Progress
from node.recorder import Recorder
from node.runner import Habits, Node
from node.store import Store
from node.watch import Watch
from node.workshop import Workshop, committed_rewards
from sim.keys import member_key
from tests.helpers.learners import KnownLearner, first_model, small_spec

TIMING = Timing(0.3, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1)


MODEL_BYTES = 1024


class EvenLearner(KnownLearner):
    """A known learner whose model files all have one size, as those of every task have."""

    def follow(self, spec: TaskSpec) -> None:
        """The task never changes here."""

    def contribute(self, model: bytes, kind: RoundKind, round_id: int) -> Contribution:
        return super().contribute(_unpadded(model), kind, round_id)

    def apply(self, model: bytes, average: NDArray[np.float64], kind: RoundKind, public: PublicSums) -> bytes:
        return _padded(super().apply(_unpadded(model), average, kind, public))

    def public_sums(self, model: bytes) -> PublicSums:
        return super().public_sums(_unpadded(model))


def _padded(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data.ljust(MODEL_BYTES, b"\0")


def _unpadded(data: bytes) -> bytes:
    return data[4 : 4 + int.from_bytes(data[:4], "big")]


def even_spec(rounds: int) -> TaskSpec:
    """A spec that `EvenLearner`s can take part in."""
    spec = small_spec(rounds=rounds)
    return msgspec.structs.replace(spec, initial_model=blob_digest(_padded(first_model(spec.dimension))).hex())


@dataclass
class Network:
    """Connects the transports that are open on it."""

    open: dict[str, MemoryTransport] = field(default_factory=dict)
    on_announce: Callable[[str, bytes], None] = lambda peer_id, message: None


class MemoryTransport:
    """What `gossip.transport.host.Transport` does for a node, without sockets."""

    def __init__(self, network: Network, peer_id: str, handlers: Any) -> None:
        self._network = network
        self._me = peer_id
        self._handlers = handlers
        self.blamed: list[tuple[str, str]] = []
        self.shunned: list[str] = []
        self._send, self._receive = trio.open_memory_channel[tuple[str, bytes]](10_000)

    @property
    def connected(self) -> frozenset[str]:
        return frozenset(self._network.open) - {self._me}

    def admit(self, peers: Sequence[PeerAddress]) -> None:
        self.admitted = {peer.peer_id for peer in peers}

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        others = list(self._network.open.values())
        self._network.open[self._me] = self
        task_status.started(1)
        for other in others:
            other._handlers.on_connected(self._me)
            self._handlers.on_connected(other._me)
        try:
            async for sender, message in self._receive:
                self._handlers.on_announcement(sender, message)
        finally:
            del self._network.open[self._me]
            for other in self._network.open.values():
                other._handlers.on_lost(self._me)

    def blame(self, peer_id: str, fault: str) -> None:
        self.blamed.append((peer_id, fault))

    def shun(self, peer_id: str, seconds: float) -> None:
        self.shunned.append(peer_id)

    def announce(self, message: bytes, to: str | None = None) -> None:
        self._network.on_announce(self._me, message)
        for peer_id, peer in self._network.open.items():
            if peer_id != self._me and to in (None, peer_id):
                peer._send.send_nowait((self._me, message))

    async def push(self, peer_id: str, header: bytes, payload: Source, payload_digest: bytes) -> None:
        await trio.lowlevel.checkpoint()
        handlers = self._peer(peer_id)
        reason = handlers.judge_offer(self._me, header, payload.size, payload_digest)
        if reason is not None:
            raise TransferRefused(reason)
        sink = handlers.open_sink(payload.size)
        for piece in payload.pieces(0):
            sink.write(bytes(piece))
        await handlers.on_payload(self._me, header, sink)

    def new_download(self, size: int) -> Partial:
        return Partial(size, Memory(), blob_hasher)

    async def fetch(self, peer_id: str, name: bytes, size: int, download: Partial) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            source = await self._peer(peer_id).find_blob(self._me, name)
        except StoreError as error:
            raise PeerUnreachable("it was cut off meanwhile") from error
        if source is None or source.size != size:
            raise TransferRefused("not found")
        return b"".join(source.pieces(0))

    def statistics(self) -> Statistics:
        return Statistics(**{one.name: 0 if one.type == "int" else {} for one in fields(Statistics)})  # type: ignore[arg-type]

    async def flush(self, seconds: float) -> frozenset[str]:
        await trio.lowlevel.checkpoint()
        return frozenset()

    def _peer(self, peer_id: str) -> Any:
        if peer_id not in self._network.open:
            raise PeerUnreachable(f"{peer_id} is not connected")
        return self._network.open[peer_id]._handlers


class SilentChain:
    """A ledger that takes everything at once and tells nothing."""

    has_pending = False

    def __init__(self, recorded: int = 0) -> None:
        self.recorded = recorded
        self.roster: Roster | None = None

    async def newer_roster(self, version: int) -> Roster | None:
        await trio.lowlevel.checkpoint()
        return None if self.roster is None or self.roster.version == version else self.roster

    async def run(self, on_recorded: Any, on_state: Any) -> None:
        await trio.sleep_forever()

    async def rosters(self) -> tuple[int, tuple[Period, ...]]:
        await trio.lowlevel.checkpoint()
        return self.recorded, ()

    async def recorded_rounds(self) -> int:
        return self.recorded


def peer_id(index: int) -> str:
    return peer_id_of(bytes([index]) * 32)


def make_node(folder: Path, spec: TaskSpec, index: int, n: int, *, habits: Habits | None = None) -> Node:
    """The node of member `index` of `n`, with its store in `folder`."""
    keys = [member_key(0, i) for i in range(n)]
    signers = tuple(address_of(key.public_key) for key in keys)
    ledger = "0x" + "22" * 20
    identity = Identity(
        me=index,
        committee=Committee(bytes([7]) * 32, signers, spec),
        sign=partial(sign, keys[index]),
        domain=Domain(1, bytes.fromhex(ledger[2:])),
        timing=TIMING,
        rewards_root=committed_rewards,
    )
    members = tuple(
        Member(i, "0x" + signer.hex(), "0x" + signer.hex(), f"m{i}", peer_id(i), "127.0.0.1", 1 + i)
        for i, signer in enumerate(signers)
    )
    roster = Roster(1, bytes([7]) * 32, 2 * n // 3 + 1, members, spec.encode(), ledger, ledger, ledger, 1)
    folder.mkdir(exist_ok=True)
    store = Store(folder / "node.store")
    model = _padded(first_model(spec.dimension))
    store.put(blob_digest(model), 0, model)
    draw = iter(range(1 << 30))

    def random_bytes(size: int) -> bytes:
        return (b"%d %d " % (index, next(draw)) * size)[:size]

    workshop = Workshop(identity, EvenLearner(spec, index), store, VaultTerms(10**18, 500_000, 0), random_bytes)
    return Node(
        roster=roster,
        workshop=workshop,
        store=store,
        progress=Progress(folder),
        chain=SilentChain(),  # type: ignore[arg-type]
        node_key=bytes(32),
        habits=habits or Habits(("127.0.0.1", 1), linger_seconds=2.0),
        on_settled=lambda result: {},
        recorder=Recorder(folder, store.get),
        watch=Watch(),
    )


def first_start(spec: TaskSpec, n: int) -> RoundStart:
    return RoundStart(0, bytes.fromhex(spec.initial_model), None, (), (bytes(16),) * n)
