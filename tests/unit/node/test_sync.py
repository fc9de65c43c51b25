from __future__ import annotations

from functools import partial

import msgspec
import pytest

from gossip import session as sessions
from gossip.messages import Deal, Envelope, Open, encode
from gossip.session import Identity, Session
from gossip.statements import Domain, address_of, sign
from node import sync
from node.frames import Summary, short_id
from node.sync import Exchange, summarise
from sim.keys import member_key
from tests.helpers.learners import small_spec
from tests.helpers.nodes import TIMING, first_start

SPEC = small_spec(rounds=3)
DOMAIN = Domain(1, bytes(20))
CONFIG = bytes([7]) * 32
KEYS = [member_key(0, index) for index in range(4)]
NOTHING = Summary(0, "OPEN", False, b"")


def identity(me: int) -> Identity:
    signers = tuple(address_of(key.public_key) for key in KEYS)
    return Identity(me, signers, partial(sign, KEYS[me]), DOMAIN, CONFIG, SPEC, TIMING)


def session(me: int) -> Session:
    return sessions.start(identity(me), first_start(SPEC, 4), 0.0)[0]


def said_by(sender: int, message: Deal | Open) -> Envelope:
    body = encode(message)
    return Envelope(sender, body, sign(KEYS[sender], message.statement(body).signing_digest(DOMAIN)))


def deal(round_id: int = 0, model: int = 1) -> Deal:
    return Deal(CONFIG, round_id, bytes([model]) * 32, (bytes(32),) * 4)


def test_peer_is_sent_what_it_lacks_and_no_more() -> None:
    opener = session(0)  # the proposer of round 0 has opened it
    (opened,) = opener.envelopes()
    exchange = Exchange(opener.identity)
    assert exchange.lacking("peer", NOTHING, opener) == [opened]
    assert exchange.lacking("peer", summarise(opener, False), opener) == []


def test_peer_that_is_ahead_is_sent_nothing() -> None:
    opener = session(0)
    assert Exchange(opener.identity).lacking("peer", Summary(1, "OPEN", False, b""), opener) == []


def test_peer_that_has_finished_is_remembered() -> None:
    exchange = Exchange(identity(0))
    exchange.lacking("peer", Summary(5, "SETTLED", True, b""), None)
    assert exchange.finished == {"peer"}


def test_statement_is_news_once() -> None:
    exchange, here = Exchange(identity(0)), session(0)
    said = said_by(1, deal())
    assert exchange.is_news(said, here)
    assert not exchange.is_news(said, here)


def test_own_statement_is_no_news() -> None:
    exchange, here = Exchange(identity(1)), session(1)
    said = said_by(1, deal())
    exchange.said(said)
    assert not exchange.is_news(said, here)


def test_statement_signed_by_another_is_no_news_and_does_not_keep_the_true_one_out() -> None:
    exchange, here = Exchange(identity(0)), session(0)
    said = said_by(1, deal())
    assert not exchange.is_news(msgspec.structs.replace(said, sender=2), here)
    assert exchange.is_news(said, here)


def test_of_rounds_far_ahead_only_the_open_is_news() -> None:
    exchange, here = Exchange(identity(0)), session(0)
    assert exchange.is_news(said_by(1, deal(1)), here)
    assert not exchange.is_news(said_by(1, deal(2)), here)


def test_sender_that_never_stops_talking_is_no_longer_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "MOST_ENVELOPES", 3)
    exchange, here = Exchange(identity(0)), session(0)
    taken = [exchange.is_news(said_by(1, deal(0, model)), here) for model in range(5)]
    assert taken == [True, True, True, False, False]
    assert exchange.is_news(said_by(2, deal()), here)
    exchange.begin(here)
    assert exchange.is_news(said_by(1, deal(0, 9)), here)


def test_summary_lists_every_envelope() -> None:
    opener = session(0)
    assert summarise(opener, False).has() == {short_id(envelope) for envelope in opener.envelopes()}
