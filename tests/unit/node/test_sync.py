from __future__ import annotations

from dataclasses import replace
from functools import partial

import msgspec
import pytest

from gossip import session as sessions
from gossip.events import Heard
from gossip.messages import SET, Commit, Confirm, Deal, Envelope, Message, Propose, SetValue, encode, value_digest
from gossip.parameters import Parameters
from gossip.session import Identity, Session
from gossip.state import MAX_ATTEMPTS_AHEAD, Agreement
from gossip.statements import Domain, address_of, sign
from node import sync
from node.frames import MOST_IDS, Summary, short_id
from node.sync import Exchange, summarise
from node.workshop import committed_rewards
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
    return Identity(me, signers, partial(sign, KEYS[me]), DOMAIN, CONFIG, SPEC, TIMING, committed_rewards)


def session(me: int) -> Session:
    return sessions.start(identity(me), first_start(SPEC, 4), 0.0)[0]


def said_by(sender: int, message: Message) -> Envelope:
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
    monkeypatch.setattr(sync, "most_taken", lambda n: 3)
    exchange, here = Exchange(identity(0)), session(0)
    taken = [exchange.is_news(said_by(1, deal(0, model)), here) for model in range(5)]
    assert taken == [True, True, True, False, False]
    assert exchange.is_news(said_by(2, deal()), here)
    exchange.begin(here)
    assert exchange.is_news(said_by(1, deal(0, 9)), here)


def test_statement_that_found_no_room_is_news_again() -> None:
    exchange, here = Exchange(identity(0)), session(0)
    said = said_by(1, deal())
    assert exchange.is_news(said, here)
    exchange.forget(said)
    assert exchange.is_news(said, here)


def test_statement_of_an_attempt_out_of_reach_is_news_once_it_is_within_reach() -> None:
    exchange, here = Exchange(identity(0)), session(0)
    far = said_by(1, Confirm(CONFIG, 0, MAX_ATTEMPTS_AHEAD + 1, SET, bytes(32)))
    assert not exchange.is_news(far, here)
    moved = replace(here.current, agreements=(Agreement(attempt=1), Agreement()))
    assert exchange.is_news(far, replace(here, current=moved))


@pytest.mark.parametrize("n", [3, 4, 8, 16, 32, 64])
def test_summary_has_room_for_all_that_liars_may_say(n: int) -> None:
    most_of_honest = 60
    liars = Parameters.of_size(n).privacy_threshold
    assert 2 * (liars * sync.most_taken(n) + (n - liars) * most_of_honest) <= MOST_IDS


def test_a_second_version_is_news_again_when_others_go_by_it() -> None:
    """Its proposer told this member another one first; without it the round would have no value for the votes."""
    exchange, here = Exchange(identity(1)), session(1)
    assert here.current.context.proposer(0) == 0
    sets = [SetValue(bytes([i]) * 32, *(((0, bytes(32)), (1, bytes(32)), (2, bytes(32))),) * 3) for i in range(2)]
    first, second = (said_by(0, Propose(CONFIG, 0, 0, SET, value, ())) for value in sets)
    for said in (first, second):
        assert exchange.is_news(said, here)
        here, _ = sessions.step(here, Heard(said), 0.0)
    assert not exchange.is_news(second, here)
    for member in (2, 3):
        vote = said_by(member, Commit(CONFIG, 0, 0, SET, value_digest(sets[1])))
        here, _ = sessions.step(here, Heard(vote), 0.0)
    assert exchange.is_news(second, here)
    here, _ = sessions.step(here, Heard(second), 0.0)
    assert value_digest(sets[1]) in here.current.values
    assert not exchange.is_news(second, here)


def test_summary_lists_every_envelope() -> None:
    opener = session(0)
    assert summarise(opener, False).has() == {short_id(envelope) for envelope in opener.envelopes()}
