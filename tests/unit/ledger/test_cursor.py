"""The cursor against a chain that is reorganised between, and even within, its questions."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from random import Random

import pytest
from eth_hash.auto import keccak

from ledger.cursor import MAX_CHECKPOINTS, START, STEP_BLOCKS, Position, Step, advance
from ledger.errors import ChainUnavailable


class FakeChain:
    """Blocks with an event each, or none; `between` is called before every answer."""

    def __init__(self, first_block: int = 0, every: int = 1) -> None:
        self.blocks: list[tuple[bytes, str | None]] = []
        self.first_block = first_block
        self.between: Callable[[], None] = lambda: None
        self.every = every
        self._serial = 0

    def grow(self, count: int, every: int | None = None) -> None:
        for _ in range(count):
            self._serial += 1
            event = f"event {self._serial}" if self._serial % (every or self.every) == 0 else None
            self.blocks.append((keccak(b"%d" % self._serial), event))

    def reorganise(self, depth: int, count: int) -> None:
        del self.blocks[max(0, len(self.blocks) - depth) :]
        self.grow(count)

    @property
    def head(self) -> int:
        return len(self.blocks) - 1

    @property
    def truth(self) -> list[tuple[int, str]]:
        return [
            (number, event) for number, (_, event) in enumerate(self.blocks) if event and number >= self.first_block
        ]

    def block_hash(self, number: int) -> bytes | None:
        self.between()
        return self.blocks[number][0] if number <= self.head else None

    def events(self, first_block: int, last_block: int) -> list[tuple[int, bytes, tuple[int, str]]]:
        # In two pages, as endpoints may have it.
        middle = (first_block + last_block) // 2
        return [*self._page(first_block, middle), *self._page(middle + 1, last_block)]

    def _page(self, first_block: int, last_block: int) -> list[tuple[int, bytes, tuple[int, str]]]:
        self.between()
        span = range(first_block, min(last_block, self.head) + 1)
        return [(n, self.blocks[n][0], (n, str(self.blocks[n][1]))) for n in span if self.blocks[n][1]]


class Reader:
    """What somebody holds who believes every step."""

    def __init__(self) -> None:
        self.held: list[tuple[int, str]] = []
        self.position = START

    def take(self, step: Step[tuple[int, str]]) -> None:
        if step.undone_from is not None:
            self.held = [event for event in self.held if event[0] < step.undone_from]
        self.held += step.events
        self.position = step.position

    def catch_up(self, chain: FakeChain) -> None:
        while True:
            step = advance(self.position, chain, chain.head)
            self.take(step)
            if step.caught_up:
                return


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_reorganised_a_reader_ends_with_the_events_of_the_chain(seed: int) -> None:
    random, chain, reader = Random(seed), FakeChain(first_block=seed % 3), Reader()
    for _ in range(40):
        if random.random() < 0.6:
            chain.grow(random.randrange(60), every=random.choice([1, 7]))
        else:
            chain.reorganise(random.randrange(1, 200), random.randrange(60))
        if random.random() < 0.5:
            reader.catch_up(chain)
            assert reader.held == chain.truth
            reader.position = Position.from_json(json.loads(json.dumps(reader.position.as_json())))
    reader.catch_up(chain)
    assert reader.held == chain.truth


def test_only_what_a_reorganisation_undid_is_taken_back() -> None:
    chain, reader = FakeChain(), Reader()
    chain.grow(50)
    reader.catch_up(chain)
    chain.reorganise(3, 5)
    step = advance(reader.position, chain, chain.head)
    assert step.undone_from == 47
    assert [number for number, _ in step.events] == [47, 48, 49, 50, 51]


def test_a_shorter_chain_undoes_what_lies_beyond_it() -> None:
    chain, reader = FakeChain(), Reader()
    chain.grow(10)
    reader.catch_up(chain)
    chain.reorganise(4, 0)
    reader.catch_up(chain)
    assert reader.held == chain.truth
    assert len(reader.held) == 6


def test_a_reorganisation_beyond_everything_remembered_begins_again() -> None:
    chain, reader = FakeChain(), Reader()
    chain.grow(20)
    reader.catch_up(chain)
    chain.reorganise(20, 25)
    step = advance(reader.position, chain, chain.head)
    assert (step.undone_from, len(step.events)) == (0, 25)


def test_a_reorganisation_between_two_questions_mixes_no_two_histories() -> None:
    for moment, depth, every in product(range(1, 9), (5, 15, 25), (1, 3)):
        chain, reader = FakeChain(every=every), Reader()
        chain.grow(30)
        reader.catch_up(chain)
        chain.grow(20)
        asked = [0]

        def strike(chain: FakeChain = chain, asked: list[int] = asked, moment: int = moment, d: int = depth) -> None:
            asked[0] += 1
            if asked[0] == moment:
                chain.reorganise(d, d)

        chain.between = strike
        reader.catch_up(chain)
        chain.between = lambda: None
        reader.catch_up(chain)
        assert reader.held == chain.truth, (moment, depth, every)


def test_a_head_that_is_not_there_is_given_up() -> None:
    chain = FakeChain()
    chain.grow(10)
    with pytest.raises(ChainUnavailable):
        advance(START, chain, chain.head + 5)


def test_a_chain_that_never_rests_is_given_up() -> None:
    chain = FakeChain()
    chain.grow(10)
    chain.between = lambda: chain.reorganise(10, 10)
    with pytest.raises(ChainUnavailable, match="reorganised while it was read"):
        advance(START, chain, chain.head)


def test_long_histories_are_read_in_steps_and_remembered_in_little() -> None:
    chain, reader = FakeChain(), Reader()
    chain.grow(2 * STEP_BLOCKS + 10)
    steps = [advance(reader.position, chain, chain.head)]
    assert not steps[0].caught_up
    reader.catch_up(chain)
    assert reader.held == chain.truth
    assert len(reader.position.checkpoints) == MAX_CHECKPOINTS


NONE = "00" * 32


@pytest.mark.parametrize(
    "values", [[[1]], [["x", NONE]], [[1, "00"]], [[2, NONE], [1, NONE]], [7], [[-1, NONE]], [[1, NONE]] * 2]
)
def test_a_damaged_position_is_refused(values: list[list[int | str]]) -> None:
    with pytest.raises(ValueError):
        Position.from_json(values)
