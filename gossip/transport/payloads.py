"""What is sent and where it goes: made or stored piece by piece, so that nobody needs a second copy of a model."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Protocol

from gossip.transport.interface import MIB

Piece = bytes | memoryview


class Source(Protocol):
    """A payload to be sent.

    Attributes:
        size: of all of it, in bytes.
    """

    @property
    def size(self) -> int: ...

    def pieces(self, offset: int) -> Iterator[Piece]:
        """The bytes from `offset` on, in pieces of 1 byte to `chunk_bytes`.

        Each is made in a worker thread while others are on their way; after a broken connection, they are made
        again from where the receiver has them.
        """


class Stored:
    """A payload that is in memory, or mapped into it."""

    def __init__(self, data: Piece) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def pieces(self, offset: int) -> Iterator[Piece]:
        view = memoryview(self._data)
        return (view[at : at + MIB] for at in range(offset, len(view), MIB))


class Made:
    """A payload that is made on the fly.

    Args:
        size: of all of it, in bytes.
        make: gives the pieces of the whole payload, the same each time.
    """

    def __init__(self, size: int, make: Callable[[], Iterator[Piece]]) -> None:
        self.size = size
        self._make = make

    def pieces(self, offset: int) -> Iterator[Piece]:
        left = offset
        for piece in self._make():
            if left < len(piece):
                yield piece[left:] if left else piece
            left = max(0, left - len(piece))


class Sink(Protocol):
    """Where a payload goes as it arrives.  All but the last are called in a worker thread, one call at a time."""

    def write(self, piece: bytes) -> None:
        """Keep the next piece."""

    def take(self) -> bytes:
        """All that was written; called once, when it is complete and its digest is right."""

    def discard(self) -> None:
        """Forget what was written; quick."""


class Memory:
    """A sink that keeps everything in memory."""

    def __init__(self) -> None:
        self._data = io.BytesIO()

    def write(self, piece: bytes) -> None:
        self._data.write(piece)

    def take(self) -> bytes:
        return self._data.getvalue()

    def discard(self) -> None:
        self._data = io.BytesIO()


class Hasher(Protocol):
    """A digest in the making."""

    def update(self, data: bytes, /) -> object: ...

    def digest(self) -> bytes: ...


MakeHasher = Callable[[int], Hasher]
"""The hasher of a payload of so many bytes."""


class Partial:
    """A payload on its way in; what has arrived outlives the connection that brought it.

    Attributes:
        offset: bytes that are here.
    """

    def __init__(self, size: int, sink: Sink, make_hasher: MakeHasher) -> None:
        self.size = size
        self.sink = sink
        self.offset = 0
        self._make_hasher = make_hasher
        self._hasher = make_hasher(size)

    def add(self, piece: bytes) -> None:
        """The next bytes; blocking."""
        self._hasher.update(piece)
        self.sink.write(piece)
        self.offset += len(piece)

    def has(self, digest: bytes) -> bool:
        """Whether it is complete and has this digest."""
        return self.offset == self.size and self._hasher.digest() == digest

    def restart(self) -> None:
        """Begin again with nothing."""
        self.sink.discard()
        self.offset = 0
        self._hasher = self._make_hasher(self.size)
