"""Python's guard against deep nesting, put back to where it protects the stack."""

from __future__ import annotations

import sys
from typing import Final

RECURSION_LIMIT: Final = 12_288
"""What py-evm needs for 1024 calls within calls."""


def guard_stack() -> None:
    """Lowers the recursion limit that py_ecc, which eth_account imports, raises to 100,000.

    With that many levels, nested brackets in JSON from an endpoint overflow the C stack and kill the process.
    To be called after eth_account or web3 were imported.
    """
    sys.setrecursionlimit(RECURSION_LIMIT)
