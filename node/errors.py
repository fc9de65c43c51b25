"""What can go wrong in a node by the hand of whoever runs it, and the exit code of every error we know."""

from __future__ import annotations

from gossip.errors import GossipError
from ledger.errors import LedgerError

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_AUDIT = 3
EXIT_INTERRUPTED = 130


class NodeError(Exception):
    """Every failure that a node's owner can cause and mend; the message is one sentence for them."""


class ConfigError(NodeError):
    """A configuration, key file or option that cannot be used."""


class TaskError(NodeError):
    """A task, its data or its model is not what it should be."""


class StoreError(NodeError):
    """The node's store cannot be used, or has no room."""


def exit_code(error: BaseException) -> int:
    """The process's exit code for an error: 2 usage, 3 audit mismatch, 130 interrupted, else 1."""
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, ConfigError | TaskError):
        return EXIT_USAGE
    return EXIT_FAILURE


__all__ = ["GossipError", "LedgerError", "NodeError", "exit_code"]
