"""Events as the bytes that the store keeps: what a restarted node replays."""

from __future__ import annotations

from typing import get_args

import msgspec

from gossip import events
from node.errors import StoreError

_CLASSES: dict[str, type[events.Event]] = {kind.__name__: kind for kind in get_args(events.Event)}


def encode_event(event: events.Event) -> bytes:
    """The event's name and fields, as msgpack."""
    return msgspec.msgpack.encode((type(event).__name__, event))


def decode_event(data: bytes) -> events.Event:
    """The event that was encoded.

    Raises:
        StoreError: not an event of this version.
    """
    try:
        name, body = msgspec.msgpack.decode(data, type=tuple[str, msgspec.Raw])
        return msgspec.msgpack.decode(body, type=_CLASSES[name])
    except (msgspec.MsgspecError, KeyError) as error:
        raise StoreError(f"the event log holds an entry that this version cannot read: {error}") from error
