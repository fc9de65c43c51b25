"""Encrypted connections between admitted members, and nothing else: strangers stop at the handshake.

What is spoken is libp2p (TCP, Noise, yamux, multistream-select, PeerIDs).  The pieces of py-libp2p that speak
it are used directly, without its Host and Swarm: those keep a task and an inbound slot for every connection
there ever was, bind ports with SO_REUSEPORT, and end the whole service when one handler raises.

`Transport` itself lives in `gossip.transport.host`: importing py-libp2p takes most of a second, which only
the process that runs a node should pay.
"""

from gossip.transport.identity import PeerAddress, peer_id_of
from gossip.transport.interface import CannotListen, Handlers, Limits, PortTaken, Statistics

__all__ = ["CannotListen", "Handlers", "Limits", "PeerAddress", "PortTaken", "Statistics", "peer_id_of"]
