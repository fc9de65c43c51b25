from __future__ import annotations

from dataclasses import replace
from functools import partial

import msgspec
import pytest
from coincurve import PrivateKey

from gossip import session as sessions
from gossip.committee import Committee
from gossip.errors import BadSignature
from gossip.events import Heard
from gossip.messages import (
    Commit,
    Confirm,
    Deal,
    Envelope,
    Message,
    Proof,
    Propose,
    longest_message,
    message_digest,
)
from gossip.parameters import Parameters
from gossip.session import Identity, Session
from gossip.state import MAX_ATTEMPTS_AHEAD, Agreement
from gossip.statements import Domain, address_of, sign
from gossip.values import (
    SET,
    SetValue,
    encode,
    value_digest,
)
from node import sync
from node.frames import MOST_IDS, Summary, short_id
from node.sync import Exchange, most_bytes, summarise
from node.workshop import committed_rewards
from sim.keys import member_key
from tests.helpers.learners import small_spec
from tests.helpers.nodes import TIMING, first_start

SPEC = small_spec(rounds=3)
DOMAIN = Domain(1, bytes(20))
CONFIG = bytes([7]) * 32
KEYS = [member_key(0, index) for index in range(4)]
NOTHING = Summary(0, "OPEN", False, 0, b"")


def identity(me: int) -> Identity:
    signers = tuple(address_of(key.public_key) for key in KEYS)
    return Identity(me, Committee(CONFIG, signers, SPEC), partial(sign, KEYS[me]), DOMAIN, TIMING, committed_rewards)


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
    exchange = Exchange()
    assert exchange.lacking("peer", NOTHING, opener) == [opened]
    assert exchange.lacking("peer", summarise(opener, False), opener) == []


def test_peer_that_is_ahead_is_sent_nothing() -> None:
    opener = session(0)
    assert Exchange().lacking("peer", Summary(1, "OPEN", False, 0, b""), opener) == []


def test_peer_that_has_finished_is_remembered() -> None:
    exchange = Exchange()
    exchange.lacking("peer", Summary(5, "SETTLED", True, 0, b""), None)
    assert exchange.finished == {"peer"}


def test_statement_is_news_once() -> None:
    exchange, here = Exchange(), session(0)
    said = said_by(1, deal())
    assert exchange.is_news(said, here)
    assert not exchange.is_news(said, here)


def test_own_statement_is_no_news() -> None:
    exchange, here = Exchange(), session(1)
    said = said_by(1, deal())
    exchange.said(said)
    assert not exchange.is_news(said, here)


def test_statement_signed_by_another_is_no_news_and_does_not_keep_the_true_one_out() -> None:
    exchange, here = Exchange(), session(0)
    said = said_by(1, deal())
    with pytest.raises(BadSignature):
        exchange.is_news(msgspec.structs.replace(said, sender=2), here)
    with pytest.raises(BadSignature):
        exchange.is_news(msgspec.structs.replace(said, signature=bytes(64)), here)
    assert exchange.is_news(said, here)


def test_statement_of_another_roster_whose_signer_is_unknown_is_no_news_and_nobodys_fault() -> None:
    """A member that has seen a signer rotated already passes such on."""
    exchange, here = Exchange(), session(0)
    said = said_by(1, Deal(bytes([8]) * 32, 0, bytes([1]) * 32, (bytes(32),) * 4))
    assert not exchange.is_news(msgspec.structs.replace(said, sender=2), here)


def test_of_rounds_far_ahead_only_the_open_is_news() -> None:
    exchange, here = Exchange(), session(0)
    assert exchange.is_news(said_by(1, deal(1)), here)
    assert not exchange.is_news(said_by(1, deal(2)), here)


def test_sender_that_never_stops_talking_is_no_longer_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "most_taken", lambda n: 3)
    exchange, here = Exchange(), session(0)
    taken = [exchange.is_news(said_by(1, deal(0, model)), here) for model in range(5)]
    assert taken == [True, True, True, True, False]  # the fourth proves it false
    assert exchange.is_news(said_by(2, deal()), here)
    exchange.begin(here)
    assert exchange.is_news(said_by(1, deal(0, 9)), here)


def test_statement_that_found_no_room_is_news_again() -> None:
    exchange, here = Exchange(), session(0)
    said = said_by(1, deal())
    assert exchange.is_news(said, here)
    exchange.forget(said)
    assert exchange.is_news(said, here)


def test_statement_of_an_attempt_out_of_reach_is_news_once_it_is_within_reach() -> None:
    exchange, here = Exchange(), session(0)
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
    exchange, here = Exchange(), session(1)
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


def test_who_says_too_much_is_still_heard_where_others_go_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "most_taken", lambda n: 2)
    exchange, here = Exchange(), session(1)
    for model in range(4):
        said = said_by(0, deal(0, model))
        if exchange.is_news(said, here):
            here, _ = sessions.step(here, Heard(said), 0.0)
    value = SetValue(bytes(32), *(((0, bytes(32)), (1, bytes(32)), (2, bytes(32))),) * 3)
    propose = said_by(0, Propose(CONFIG, 0, 0, SET, value, ()))
    assert not exchange.is_news(propose, here)
    for member in (2, 3):
        vote = said_by(member, Commit(CONFIG, 0, 0, SET, value_digest(value)))
        here, _ = sessions.step(here, Heard(vote), 0.0)
    assert exchange.is_news(propose, here)
    here, _ = sessions.step(here, Heard(propose), 0.0)
    assert not exchange.is_news(propose, here)


@pytest.mark.parametrize("n", [4, 16, 64])
def test_what_a_sender_says_in_a_round_is_bounded_in_bytes(n: int) -> None:
    assert most_bytes(n) < 6_000_000


def test_a_sender_of_long_statements_is_no_longer_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    one = len(said_by(1, deal()).body)
    monkeypatch.setattr(sync, "most_bytes", lambda n: 3 * one)
    exchange, here = Exchange(), session(0)
    assert [exchange.is_news(said_by(1, deal(0, model)), here) for model in range(9)].count(True) == 4


def test_a_statement_longer_than_any_of_its_committee_is_no_news() -> None:
    exchange, here = Exchange(), session(0)
    carried = (Envelope(0, bytes(longest_message(4)), bytes(64)),)
    value = SetValue(bytes(32), *(((0, bytes(32)), (1, bytes(32)), (2, bytes(32))),) * 3)
    assert not exchange.is_news(said_by(1, Propose(CONFIG, 0, 1, SET, value, carried)), here)


def test_a_second_version_that_breaks_a_rule_is_let_in_once() -> None:
    exchange, here = Exchange(), session(1)
    size = here.current.context.proof_bytes
    first, second = (said_by(0, Proof(CONFIG, 0, 0, bytes(32), bytes(length))) for length in (size, size + 3))
    value = SetValue(bytes(32), ((0, bytes(32)),), ((0, message_digest(second.body)),), ())
    for said in (first, said_by(0, Propose(CONFIG, 0, 0, SET, value, ())), second):
        assert exchange.is_news(said, here)
        here, _ = sessions.step(here, Heard(said), 0.0)
    assert [exchange.is_news(second, here) for _ in range(5)].count(True) <= 1


def test_of_who_says_too_much_one_proof_against_it_is_still_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may have it, and need one sum less for it: who does not learn it could not follow them."""
    monkeypatch.setattr(sync, "most_taken", lambda n: 1)
    exchange, here = Exchange(), session(1)
    first, *others = (said_by(0, deal(0, model)) for model in range(4))
    assert exchange.is_news(first, here)
    kept = Deal(CONFIG, 0, here.current.context.model, (bytes(32),) * 4)
    here, _ = sessions.step(here, Heard(said_by(0, kept)), 0.0)
    forged = msgspec.structs.replace(others[0], signature=others[1].signature)
    with pytest.raises(BadSignature):
        exchange.is_news(forged, here)
    assert exchange.is_news(others[1], here)
    here, _ = sessions.step(here, Heard(others[1]), 0.0)
    assert here.current.evidence[0][-1] == others[1]
    assert not exchange.is_news(others[2], here)


def test_one_statement_signed_in_many_ways_is_news_once() -> None:
    exchange, here = Exchange(), session(0)
    said = said_by(1, deal())
    digest = deal().statement(said.body).signing_digest(DOMAIN)
    again = msgspec.structs.replace(said, signature=other_signature(KEYS[1], digest))
    assert again.signature != said.signature
    assert exchange.is_news(said, here)
    assert not exchange.is_news(again, here)


def other_signature(key: PrivateKey, digest: bytes) -> bytes:
    """Another valid signature: `sign` is deterministic, but nobody has to use it."""
    order = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
    nonce = 12345
    point = PrivateKey.from_int(nonce).public_key.point()
    r, parity = point[0] % order, point[1] & 1
    s = pow(nonce, -1, order) * (int.from_bytes(digest, "big") + r * key.to_int()) % order
    if s > order // 2:
        s, parity = order - s, 1 - parity
    return r.to_bytes(32, "big") + (s | parity << 255).to_bytes(32, "big")


def test_summary_lists_every_envelope() -> None:
    opener = session(0)
    assert summarise(opener, False).has() == {short_id(envelope) for envelope in opener.envelopes()}
