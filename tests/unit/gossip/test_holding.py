"""Which Proofs and complaints a holder judges, and which shares it adds up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossip import holding
from gossip.events import Blame, Effect, FetchPayload
from gossip.messages import Complaint, Deal
from gossip.state import RoundState, Turn
from gossip.statements import Kind
from gossip.values import SET, SetValue
from tests.helpers.worlds import recorded, settled_world, state_of, with_statement

D = bytes(32)
PROPOSER, DEALER, HOLDER = 2, 1, 3


@pytest.fixture
def state() -> RoundState:
    return state_of(settled_world())


def complained(state: RoundState, **changes: bytes) -> list[Effect]:
    """What follows when a holder complains of its own share."""
    deal = state.records(Kind.DEAL)[DEALER].message
    assert isinstance(deal, Deal)
    freeze, proof = state.records(Kind.FREEZE)[PROPOSER].digest, state.records(Kind.PROOF)[DEALER].digest
    said = {"freeze": freeze, "proof": proof, "share": deal.shares[HOLDER], **changes}
    turn = Turn(state, 1.0)
    complaint = Complaint(state.context.config, state.context.round, 0, DEALER, **said)
    turn.keep(HOLDER, recorded(settled_world().nodes[HOLDER], complaint))
    holding.check_complaints(turn)
    return turn.effects


def test_a_share_that_is_complained_about_is_fetched_and_one_that_was_never_dealt_is_named(state: RoundState) -> None:
    assert [type(effect) for effect in complained(state)] == [FetchPayload]
    assert [(effect.member, type(effect)) for effect in complained(state, share=D)] == [(HOLDER, Blame)]  # type: ignore[union-attr]


def test_nobody_is_named_by_a_complaint_under_another_freeze(state: RoundState) -> None:
    """A proposer with two faces showed its holder another Freeze, and with it another Deal of the same dealer."""
    assert not complained(with_statement(state, Kind.PROOF, DEALER, freeze=D), freeze=D, share=D)


@pytest.mark.parametrize("change", [{"freeze": D}, {"attempt": 1}], ids=["freeze", "attempt"])
def test_nobody_is_named_by_a_complaint_about_a_proof_that_answers_something_else(
    state: RoundState, change: dict[str, object]
) -> None:
    assert not complained(with_statement(state, Kind.PROOF, DEALER, **change))


def test_only_a_proof_that_answers_the_freeze_is_judged(state: RoundState) -> None:
    turn, freeze = Turn(state, 1.0), state.records(Kind.FREEZE)[PROPOSER].digest
    assert holding.proof_answering(turn, DEALER, 0, freeze) is not None
    assert holding.proof_answering(turn, DEALER, 0, D) is None


@pytest.mark.parametrize("agrees", [False, None])
def test_shares_are_added_up_only_if_all_of_them_agree(state: RoundState, agrees: bool | None) -> None:
    final = state.agreements[SET].final
    assert final is not None
    assert isinstance(final[1], SetValue)
    assert holding.checked_shares(Turn(state, 1.0), final[1]) is not None
    checked = {key: agrees if key[0] == DEALER else known for key, known in state.checked.items()}
    known = {key: verdict for key, verdict in checked.items() if verdict is not None}
    assert holding.checked_shares(Turn(replace(state, checked=known), 1.0), final[1]) is None
