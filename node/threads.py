"""The threads of a node: neither the disk nor work on vectors holds up its loop, and neither holds up the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

DISK_THREADS = 2
_T = TypeVar("_T")


class Threads:
    """One node's threads.

    Attributes:
        vectors: held while the workshop is in use; who holds it may use the workshop's dealing.
    """

    def __init__(self) -> None:
        self.vectors = trio.CapacityLimiter(1)
        self._disk = trio.CapacityLimiter(DISK_THREADS)

    async def at_the_disk(self, call: Callable[[], _T]) -> _T:
        """What `call` returns, in a thread that training and dealing never hold up."""
        return await trio.to_thread.run_sync(call, limiter=self._disk)

    async def at_the_vectors(self, call: Callable[[], _T], *, abandon_on_cancel: bool = False) -> _T:
        """What `call` returns, in the one thread that may use the workshop's dealing.

        A node that has to stop waits for it, unless `abandon_on_cancel`.
        """
        # libp2p brings trio-typing, whose outdated stubs hide the argument.
        return await trio.to_thread.run_sync(call, limiter=self.vectors, abandon_on_cancel=abandon_on_cancel)  # type: ignore[call-arg]
