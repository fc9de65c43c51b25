"""What can go wrong in a node by the hand of whoever runs it, and the exit code of every error we know."""

from __future__ import annotations

from gossip.errors import GossipError
from gossip.transport import CannotListen
from ledger.errors import ChainTooOld, LedgerError, MalformedAddress, NoContract, PortTaken, WrongChain

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


class Interrupted(NodeError):
    """A signal ended the node; it goes on where it was when it is started again."""

    def __init__(self, name: str) -> None:
        super().__init__(f"stopped by {name}; start it again and it goes on where it was")
        self.signal = name


class LeftBehind(NodeError):
    """Every other member finished and left while this node was away.

    Attributes:
        round_id: the last round that it knows of.
    """

    def __init__(self, round_id: int) -> None:
        super().__init__(f"all rounds are over and every other node has left; this one came as far as round {round_id}")
        self.round_id = round_id


class NoLongerAdmitted(NodeError):
    """The registry does not show this node's PeerID any more: nobody talks to it."""

    def __init__(self, name: str, registry: str) -> None:
        super().__init__(
            f"the registry {registry} no longer shows the node key of {name}: the member left, was removed, or rotated "
            "the key; in the last case put the new key into node.key and start again"
        )
        self.name = name


_USAGE = (ConfigError, TaskError, CannotListen, PortTaken, MalformedAddress, NoContract, WrongChain, ChainTooOld)
"""What whoever runs the node can mend, by another option, key, address or file."""


def exit_code(error: BaseException) -> int:
    """The process's exit code for an error: 2 usage, 3 audit mismatch, 130 interrupted, else 1."""
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return EXIT_INTERRUPTED
    if isinstance(error, _USAGE):
        return EXIT_USAGE
    return EXIT_FAILURE


__all__ = ["GossipError", "LedgerError", "NodeError", "exit_code"]
