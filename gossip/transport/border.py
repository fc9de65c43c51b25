"""Where foreign exceptions end: whatever py-libp2p raises on a peer's bytes becomes `PeerUnreachable`."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import cryptography.exceptions
import google.protobuf.message
import libp2p  # noqa: F401  (its first import sets up its log handlers, which are replaced below)
import nacl.exceptions
import noise.exceptions  # type: ignore[import-untyped]
import trio
from libp2p.exceptions import BaseLibp2pError

from gossip.errors import PeerUnreachable

LIBRARY_ERRORS: Final[tuple[type[Exception], ...]] = (
    BaseLibp2pError,
    noise.exceptions.NoiseHandshakeError,
    noise.exceptions.NoiseInvalidMessage,
    noise.exceptions.NoiseMaxNonceError,
    noise.exceptions.NoiseValidationError,
    noise.exceptions.NoiseValueError,
    cryptography.exceptions.InvalidSignature,
    cryptography.exceptions.InvalidTag,
    cryptography.exceptions.UnsupportedAlgorithm,
    nacl.exceptions.CryptoError,
    google.protobuf.message.Error,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.EndOfChannel,
    trio.TooSlowError,
    OSError,
    struct.error,
    # Parsers of py-libp2p and noiseprotocol leak these on hostile bytes.
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""Stated once.  Only calls into the library stand inside `translated`, so that bugs of ours stay visible."""


@contextmanager
def translated(peer: str) -> Iterator[None]:
    """Turns what the library raises, alone or in groups, into one error that names the peer.

    Raises:
        PeerUnreachable: the connection or stream broke, the peer was too slow, or sent nonsense.
    """
    try:
        yield
    except trio.TooSlowError as error:
        raise PeerUnreachable(f"{peer} did not answer in time") from error
    except LIBRARY_ERRORS as error:
        raise PeerUnreachable(f"{peer}: {describe(error)}") from error
    except BaseExceptionGroup as group:
        ours = group.split(LIBRARY_ERRORS)[1]
        if ours is not None:
            raise ours from None
        raise PeerUnreachable(f"{peer}: {describe(group)}") from group


@contextmanager
def deadline(peer: str, seconds: float) -> Iterator[None]:
    """Ends the block after `seconds`.

    Raises:
        PeerUnreachable: it took longer.
    """
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise PeerUnreachable(f"{peer} did not finish within {seconds:.0f} s")


def describe(error: BaseException) -> str:
    """One line on an exception, at most 200 characters, with what is inside a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__} {error}".strip()[:200]


def silence_library() -> None:
    """Stops libp2p from printing every refused stranger to stderr, unless LIBP2P_DEBUG asks for it."""
    if os.environ.get("LIBP2P_DEBUG"):
        return
    logger = logging.getLogger("libp2p")
    logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.CRITICAL)


silence_library()
