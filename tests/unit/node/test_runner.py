from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

import node.runner
import node.standing
from gossip import layout
from gossip import session as sessions
from gossip.messages import Envelope, decode_message
from gossip.statements import Kind
from ledger.types import Roster
from node.beginning import StoredStart
from node.door import Door
from node.errors import NoLongerAdmitted
from node.eventlog import decode_event
from node.frames import decode_frame, short_id
from node.runner import Node
from tests.helpers.nodes import MemoryTransport, Network, even_spec, first_start, make_node, peer_id

Make = Callable[[int], Node]

N = 4
SPEC = even_spec(rounds=1)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network()

    async def no_signals() -> None:
        pass

    def transport(key: bytes, host: str, port: int, handlers: Door, **digests: object) -> MemoryTransport:
        return MemoryTransport(found, peer_id(handlers._node.me), handlers)

    monkeypatch.setattr(node.runner, "Transport", transport)
    monkeypatch.setattr(node.runner, "_raise_on_signal", no_signals)
    return found


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes a member's node, again after its end."""
    made: dict[int, Node] = {}

    def close(one: Node) -> None:
        one.store.close()
        one.progress.close()

    def make_one(index: int) -> Node:
        if index in made:
            close(made[index])
        made[index] = make_node(tmp_path / str(index), SPEC, index, N)
        return made[index]

    yield make_one
    for one in made.values():
        close(one)


async def run_all(nodes: list[Node]) -> None:
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for one in nodes:
                nursery.start_soon(one.run, first_start(SPEC, len(one.roster.members)))


def settled(folder: Path, index: int) -> dict[int, str]:
    lines = [json.loads(line) for line in (folder / str(index) / "progress.jsonl").read_text().splitlines()]
    return {line["round"]: line["result_digest"] for line in lines if line["event"] == "settled"}


def said_according_to_disk(one: Node) -> set[bytes]:
    """What a node that were killed now would find itself to have said."""
    stored = one.store.current_round()
    assert stored is not None
    saved = msgspec.msgpack.decode(stored[1], type=StoredStart)
    session, _ = sessions.start(one.workshop.identity, saved.start, saved.now)
    for at, body in one.store.events(saved.start.round):
        session, _ = sessions.step(session, decode_event(body), at)
    return {short_id(envelope) for envelope in session.envelopes() if envelope.sender == one.me}


def test_members_settle_every_round_on_the_same_result(tmp_path: Path, network: Network, make: Make) -> None:
    trio.run(run_all, [make(index) for index in range(N)])
    results = [settled(tmp_path, index) for index in range(N)]
    assert list(results[0]) == [0, 1, 2]
    assert all(result == results[0] for result in results)


def test_nodes_rebuild_a_large_sum_in_pieces(tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "PIECES_FROM_WORDS", 1)
    n, said = layout.PIECES_FROM_MEMBERS, set[Kind]()

    def listen(sender: str, message: bytes) -> None:
        frame = decode_frame(message)
        if isinstance(frame, Envelope):
            said.add(decode_message(frame.body).kind)

    network.on_announce = listen
    nodes = [make_node(tmp_path / str(index), SPEC, index, n) for index in range(n)]
    trio.run(run_all, nodes)
    assert {Kind.PIECE, Kind.CHECK} <= said
    results = [settled(tmp_path, index) for index in range(n)]
    assert list(results[0]) == [0, 1, 2]
    assert all(result == results[0] for result in results)
    for one in nodes:
        one.store.close()
        one.progress.close()


def test_a_node_that_is_started_again_after_the_end_says_again_what_it_said_in_the_last_round(
    tmp_path: Path, network: Network, make: Make
) -> None:
    """Another may have had no other way to the last signature that it needs."""
    trio.run(run_all, [make(index) for index in range(N)])
    said: list[Kind] = []

    def listen(sender: str, message: bytes) -> None:
        frame = decode_frame(message)
        if isinstance(frame, Envelope):
            said.append(decode_message(frame.body).kind)

    network.on_announce = listen
    before = settled(tmp_path, 1)
    trio.run(run_all, [make(1)])
    assert Kind.SIGN in said
    assert settled(tmp_path, 1) == before


def test_nothing_is_said_that_the_store_would_not_say_again(network: Network, make: Make) -> None:
    nodes = [make(index) for index in range(N)]
    watched, checked = nodes[1], 0

    def check(sender: str, message: bytes) -> None:
        nonlocal checked
        frame = decode_frame(message)
        is_own = isinstance(frame, Envelope) and frame.sender == watched.me and sender == peer_id(1)
        stored = watched.store.current_round()
        # A node that has stored the next round's beginning says no more in this one than it has said.
        is_current = stored is not None and stored[0] == watched.round == watched.session.current.context.round
        if is_own and is_current:
            last = watched.session.last
            old = {short_id(envelope) for envelope in last.envelopes()} if last is not None else set()
            assert short_id(frame) in said_according_to_disk(watched) | old
            checked += 1

    network.on_announce = check
    trio.run(run_all, nodes)
    assert checked >= 3 * 8


def test_node_that_is_cut_off_again_and_again_comes_back_and_finishes(
    tmp_path: Path, network: Network, make: Make
) -> None:
    cuts = []

    async def main() -> None:
        nodes = [make(index) for index in range(N)]
        with trio.fail_after(40):
            async with trio.open_nursery() as nursery:
                for one in nodes[:3]:
                    nursery.start_soon(one.run, first_start(SPEC, N))
                await cut_off_and_restart(nodes[3])

    async def cut_off_and_restart(one: Node) -> None:
        for step in (3, 10, 25, 40):
            cut_after(one, step)
            try:
                await one.run(first_start(SPEC, N))
            except* Cut:
                cuts.append(step)
            one = make(3)
        await one.run(first_start(SPEC, N))

    trio.run(main)
    assert len(cuts) >= 3
    assert settled(tmp_path, 3)[2] == settled(tmp_path, 0)[2]


class Cut(Exception):
    """Power is gone."""


def cut_after(one: Node, batches: int) -> None:
    """Have the node end right after so many batches of events are on disk, before anything follows from the last."""
    append, left = one.store.append_events, batches

    def counted(round_id: int, entries: Sequence[tuple[float, bytes]]) -> None:
        nonlocal left
        append(round_id, entries)
        left -= 1
        if left == 0:
            raise Cut

    one.store.append_events = counted  # type: ignore[method-assign]


def changed_roster(one: Node, gone: int) -> Roster:
    """The registry's roster after member `gone` was removed."""
    everybody = (1 << len(one.roster.members)) - 1
    return replace(one.roster, version=2, active=everybody & ~(1 << gone))


def test_a_change_in_the_registry_takes_effect_within_one_poll(
    tmp_path: Path, network: Network, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.standing, "ROSTER_SECONDS", 0.05)

    async def main() -> None:
        one = make(0)
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.run, first_start(SPEC, N))
                await trio.testing.wait_all_tasks_blocked(0.01)
                admitted = [len(one.transport.admitted)]  # type: ignore[attr-defined]
                one.chain.roster = changed_roster(one, 3)  # type: ignore[attr-defined]
                while one.admission.version == 1:  # noqa: ASYNC110  (nothing tells)
                    await trio.sleep(0.01)
                admitted.append(len(one.transport.admitted))  # type: ignore[attr-defined]
                assert admitted == [3, 2]
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_member_that_the_registry_no_longer_shows_is_told_what_to_do(
    tmp_path: Path, network: Network, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.standing, "ROSTER_SECONDS", 0.05)
    removed = make(3)
    removed.chain.roster = changed_roster(removed, 3)  # type: ignore[attr-defined]
    with pytest.RaisesGroup(NoLongerAdmitted, flatten_subgroups=True):
        trio.run(run_all, [removed])
