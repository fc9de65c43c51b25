"""The model files that rounds start from and end with, by digest: stored here, or fetched from whoever has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from node.store import Store
from node.transfers import IsWanted, Transfers
from node.workshop import MissingModel


class ModelFiles:
    """One node's model files.

    Args:
        others: places in the committee of the members to ask.
    """

    def __init__(self, store: Store, transfers: Transfers, others: Callable[[], Iterable[int]]) -> None:
        self._store = store
        self._transfers = transfers
        self._others = others

    def has(self, name: bytes) -> bool:
        return self._store.get(name) is not None

    def get(self, name: bytes) -> bytes:
        """The whole file.

        Raises:
            MissingModel: it is not stored here.
        """
        data = self._store.get(name)
        if data is None:
            raise MissingModel(name)
        return bytes(data)

    async def fetch(self, name: bytes, size: int, round_id: int, is_wanted: IsWanted) -> bool:
        """Store a file that is not here, as long as `round_id`'s are kept; False once it is not wanted any more."""
        data = await self._transfers.fetch(name, size, self._others(), is_wanted)
        if data is not None:
            self._store.put(name, round_id, data)
        return data is not None
