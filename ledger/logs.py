"""The parameters in a log's data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from ledger.errors import ChainUnavailable


def decoded(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """The values of these types in `data`.

    Raises:
        ChainUnavailable: they are not there.
    """
    try:
        return tuple(decode(types, data))
    except (DecodingError, ValueError, TypeError) as error:
        raise ChainUnavailable(f"what the endpoint shows of the contracts cannot be read: {error}") from error
