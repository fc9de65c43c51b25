"""How far a reader of events has come, in blocks by number and hash, and what to take back after a reorganisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from ledger.errors import ChainUnavailable

STEP_BLOCKS: Final = 2_000
MAX_CHECKPOINTS: Final = 128
READS: Final = 3

_E = TypeVar("_E")
_E_co = TypeVar("_E_co", covariant=True)


class Source(Protocol[_E_co]):
    """A chain that may be reorganised at any time, even between two questions."""

    first_block: int

    def block_hash(self, number: int) -> bytes | None:
        """Hash of the block with this number; None if there is none."""

    def events(self, first_block: int, last_block: int) -> Sequence[tuple[int, bytes, _E_co]]:
        """Number and hash of its block, and the event, oldest first."""


@dataclass(frozen=True, slots=True)
class Position:
    """Blocks that a reader has seen, by number and hash, ascending: everything up to the last one is read.

    The newest ones are kept, and the oldest; a reorganisation beyond all of them is read again from the first block.
    """

    checkpoints: tuple[tuple[int, bytes], ...] = ()

    def __post_init__(self) -> None:
        numbers = [number for number, _ in self.checkpoints]
        if sorted(set(numbers)) != numbers or any(number < 0 for number in numbers):
            raise ValueError("the blocks of a position ascend")
        if any(len(digest) != 32 for _, digest in self.checkpoints) or len(numbers) > MAX_CHECKPOINTS:
            raise ValueError(f"a position has at most {MAX_CHECKPOINTS} hashes of 32 bytes")

    def as_json(self) -> list[list[int | str]]:
        """The position as JSON values, to be kept between two runs."""
        return [[number, digest.hex()] for number, digest in self.checkpoints]

    @staticmethod
    def from_json(values: Sequence[Sequence[int | str]]) -> Position:
        """The position that `as_json` wrote.

        Raises:
            ValueError: it is none.
        """
        try:
            return Position(tuple((int(number), bytes.fromhex(str(digest))) for number, digest in values))
        except TypeError as error:
            raise ValueError("a position is a list of block numbers and hashes") from error


START: Final = Position()


@dataclass(frozen=True, slots=True)
class Step(Generic[_E]):
    """What a reader learns at once.

    Attributes:
        undone_from: events of this block and of all later ones, read earlier, hold no more; None if all still hold.
        events: those that are new.
        position: where to go on.
        caught_up: there is nothing more to read now.
    """

    undone_from: int | None
    events: tuple[_E, ...]
    position: Position
    caught_up: bool


def advance(position: Position, source: Source[_E], head: int) -> Step[_E]:
    """The next events up to block `head`, at most `STEP_BLOCKS` blocks of them.

    Raises:
        ChainUnavailable: the chain was reorganised during each of several attempts to read it.
    """
    kept = list(position.checkpoints)
    for _ in range(READS):
        while kept and source.block_hash(kept[-1][0]) != kept[-1][1]:
            kept.pop()
        start = kept[-1][0] + 1 if kept else source.first_block
        undone = start if len(kept) < len(position.checkpoints) else None
        end = min(start + STEP_BLOCKS - 1, head)
        if start > end:
            return Step(undone, (), Position(tuple(kept)), True)
        before = source.block_hash(end)
        found = source.events(start, end)
        # The same last block and the same block before the first one: the events are of one history, this one.
        if before is None or source.block_hash(end) != before:
            continue
        if kept and source.block_hash(kept[-1][0]) != kept[-1][1]:
            continue
        seen = {end: before}
        if any(seen.setdefault(number, digest) != digest for number, digest, _ in found):
            continue
        return Step(undone, tuple(event for *_, event in found), _with(kept, seen), end == head)
    raise ChainUnavailable("the chain was reorganised while it was read; ask again")


def _with(kept: list[tuple[int, bytes]], seen: dict[int, bytes]) -> Position:
    everything = [*kept, *sorted(seen.items())]
    return Position(tuple([*everything[:1], *everything[1:][-(MAX_CHECKPOINTS - 1) :]]))
