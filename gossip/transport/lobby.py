"""Inbound connections before the end of their handshake: few, and no stranger can fill the room for others."""

from __future__ import annotations

from collections import Counter

from gossip.transport.wire import Wire


class Lobby:
    """A bounded room that always has a place for the next one.

    Whoever takes most places, by address, loses its oldest: a flood from one machine displaces itself, and a
    member that needs a second for its handshake over a slow line gets it.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._hosts: dict[Wire, str] = {}

    def __len__(self) -> int:
        return len(self._hosts)

    def enter(self, wire: Wire, host: str) -> None:
        """Gives a place to a connection from `host`; closes another if there is none left."""
        while len(self._hosts) >= self._places:
            crowd = Counter(self._hosts.values())
            crowd[host] += 1
            most = max(crowd.values())
            oldest = next(wire for wire, owner in self._hosts.items() if crowd[owner] == most)
            self.leave(oldest)
            oldest.abort()
        self._hosts[wire] = host

    def leave(self, wire: Wire) -> None:
        """Frees the place, if it still has one."""
        self._hosts.pop(wire, None)

    def close(self) -> None:
        """Closes everything."""
        for wire in list(self._hosts):
            wire.abort()
