"""One member of four or seven lies: no two results, honest members agree, the liar is named and nobody else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gossip import round as one_round
from gossip import scores, sets
from gossip.events import Announce, Blame, Event, Heard, Missed
from gossip.messages import (
    Confirm,
    Deal,
    Freeze,
    Propose,
    Status,
    decode_message,
)
from gossip.parameters import Parameters
from gossip.scores import score_bound
from gossip.state import Turn
from gossip.statements import Kind
from gossip.values import (
    ABANDONED,
    OUTCOME,
    SET,
    SETTLED,
    Certificate,
    SetValue,
    value_digest,
)
from sim.scenario import Scenario
from sim.world import World
from tests.helpers import liars
from tests.helpers.learners import small_spec
from tests.helpers.worlds import assert_agreement, known_world, saved_after

WORK = {
    "false partial sum": liars.false_sum,
    "false proof": liars.false_proof,
    "false score answers": liars.false_answers,
}
SHOWN = {"false partial sum": "false partial sum", "false proof": "share contradicts its proof"}


@pytest.mark.parametrize("lie", WORK)
@pytest.mark.parametrize("n", [4, 7])
def test_false_work_is_named_and_does_no_harm(n: int, lie: str) -> None:
    liar = 1
    world = known_world(n, saved=saved_after(n, 1))
    liars.lie_at_work(world, liar, WORK[lie])
    world.run(300)
    assert_agreement(world, liars=frozenset({liar}))
    assert world.blamed() == {liar}
    honest = world.nodes[0].results[2]
    assert honest.outcome == 1
    assert liar in honest.dealer_set or lie == "false proof"
    truth = known_world(n, saved=saved_after(n, 1)).run(300).nodes[0].results[2]
    if lie != "false proof":
        assert (honest.model, honest.scores) == (truth.model, truth.scores)


@pytest.mark.parametrize("victim", [0, 2, 3])
def test_a_false_share_costs_its_dealer_the_round_and_nobody_else(victim: int) -> None:
    dealer = 1
    world = known_world(4, saved=saved_after(4, 1))
    liars.deal_unequally(world, dealer, victim)
    world.run(300)
    assert_agreement(world, liars=frozenset({dealer}))
    assert world.blamed() == {dealer}
    assert world.nodes[0].results[2].dealer_set == {0, 2, 3}
    assert any(decode_message(e.body).key[0] is Kind.COMPLAINT for e in world.said.values())


@pytest.mark.parametrize("is_canonical", [True, False])
def test_a_false_share_that_comes_after_the_receipt_is_not_added(is_canonical: bool) -> None:
    """The holder would be blamed for its partial sum, or fail over words that are no field elements.

    Of five members four cover the set that the dealer is in; its victim's Receipt is not needed.
    """
    dealer, victim = 1, 3
    world = known_world(5, saved=saved_after(5, 0), last_round=1)
    liars.deal_unequally(world, dealer, victim, is_canonical=is_canonical)
    liars.deal_late(world, dealer, victim)
    world.run(300).run_on(3.0)
    assert_agreement(world, liars=frozenset({dealer}))
    assert world.blamed() == {dealer}
    assert dealer in world.nodes[0].results[1].dealer_set
    complaints = [e for e in world.said.values() if decode_message(e.body).kind is Kind.COMPLAINT]
    assert [envelope.sender for envelope in complaints] == [victim]


def withholding(n: int, liar: int, rounds: int) -> World:
    """A world in which one dealer keeps its share from as many holders as a set can do without, and reveals nothing."""
    scenario = Scenario(keep_to_themselves=frozenset({liar}), lies={liar: liars.withhold(Kind.REVEAL)})
    world = known_world(n, rounds=rounds, last_round=rounds, scenario=scenario)
    workshop = world.nodes[liar].workshop
    victims = [member for member in range(n) if member != liar][: n - Parameters.of_size(n).min_holders]
    shares, share_of = workshop.shares, workshop.share_of
    workshop.shares = lambda: (share for share in shares() if share.holder not in victims)  # type: ignore[method-assign]
    workshop.share_of = (  # type: ignore[method-assign]
        lambda holder, name: None if holder in victims else share_of(holder, name)
    )
    return world


@pytest.mark.parametrize("n", [4, 5, 8, 9])
def test_a_dealer_that_withholds_shares_and_then_its_sum_holds_up_no_round(n: int) -> None:
    """The holders that lack its share and itself would leave one sum too few, in every round."""
    liar = n - 1
    world = withholding(n, liar, rounds=2).run(300)
    assert_agreement(world, liars=frozenset({liar}))
    assert [world.nodes[0].results[i].outcome for i in range(3)] == [SETTLED] * 3
    assert all(liar not in world.nodes[0].results[i].dealer_set for i in range(3))
    assert not world.blamed(), "what is withheld is no fault"
    missed = {(e.phase, e.members) for _, _, e in world.effects(Missed) if isinstance(e, Missed)}
    assert missed == {("PROVE", (liar,))}


@pytest.mark.parametrize("n", [4, 6, 8])
def test_a_liar_that_proposes_what_cannot_be_opened_costs_a_round(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom it kept from the sum is not missed; with four members no other set is allowed afterwards."""
    liar, fewest = 1, Parameters.of_size(n).min_holders
    largest = sets._largest_allowed

    def of_the_liar(turn: Turn, good: dict[int, frozenset[int]]) -> frozenset[int] | None:
        return sets._best_allowed(turn, good, fewest) if turn.context.me == liar else largest(turn, good)

    monkeypatch.setattr(sets, "_largest_allowed", of_the_liar)
    world = withholding(n, liar, rounds=2).run(400)
    assert_agreement(world, liars=frozenset({liar}))
    outcomes = [world.nodes[0].results[i].outcome for i in range(3)]
    assert outcomes == [SETTLED, ABANDONED, ABANDONED if n == 4 else SETTLED]
    missed = {(e.phase, e.members) for _, _, e in world.effects(Missed) if isinstance(e, Missed)}
    assert {members for phase, members in missed if phase == "REVEAL"} == {(liar,)}


@pytest.mark.parametrize(("n", "liar", "lost"), [(6, 1, 2), (6, 2, 1), (8, 3, 2)])
def test_after_a_sum_beyond_its_bounds_others_are_added_up(n: int, liar: int, lost: int) -> None:
    """One dealer's number is larger than any that clips; who it is nobody can see, so that halves take turns."""
    world = known_world(n, rounds=3, last_round=lost, scenario=Scenario(lies={liar: lambda node, effects: effects}))
    liars.deal_beyond_bounds(world, liar)
    world.run(300)
    outcomes = [(result.outcome, liar in result.dealer_set) for _, result in sorted(world.nodes[0].results.items())]
    assert outcomes == [*[(ABANDONED, True)] * lost, (SETTLED, False)]
    assert not world.blamed(), "nobody can see who it is, so that nobody is named"


@pytest.mark.parametrize("subject", [SET, OUTCOME])
def test_a_proposer_that_shows_one_member_another_value_and_stops_does_not_hold_up_the_round(subject: int) -> None:
    """That member never heard the value for which the others voted, and the others are not enough without it."""
    proposer = 1
    scenario = Scenario(lies={proposer: liars.tell_apart(Kind.PROPOSE, 0, subject)})
    world = known_world(4, saved=saved_after(4, 0), last_round=1, scenario=scenario).run(300)
    assert_agreement(world, liars=frozenset({proposer}))
    assert world.blamed() <= {proposer}


@pytest.mark.parametrize("subject", [SET, OUTCOME])
def test_a_proposer_that_lets_one_member_see_a_quorum_and_stops_does_not_hold_up_the_others(subject: int) -> None:
    """Its Commit for their value goes to that member alone, who is done; the others hear another one of it."""
    proposer = 1
    scenario = Scenario(lies={proposer: liars.vote_apart(subject)})
    world = known_world(4, saved=saved_after(4, 0), last_round=1, scenario=scenario).run(300)
    assert_agreement(world, liars=frozenset({proposer}))
    assert world.blamed() == {proposer}


@pytest.mark.parametrize("kind", [Kind.REVEAL, Kind.SCORE], ids=lambda kind: kind.name)
def test_a_holder_that_lets_one_member_decode_and_stops_does_not_hold_up_the_others(kind: Kind) -> None:
    """As a dealer it withheld that member's share, so that its own sum is needed; the others hear a false one of it."""
    liar, friend, last_round = 3, 0, 1 if kind is Kind.REVEAL else 2
    scenario = Scenario(lies={liar: liars.tell_friend(kind, friend, last_round)})
    world = known_world(4, rounds=2, last_round=last_round, scenario=scenario)
    liars.deal_late(world, liar, friend, never_in_round=1)
    world.run(300)
    assert_agreement(world, liars=frozenset({liar}))
    assert world.blamed() == {liar}
    assert world.nodes[friend].results[last_round].outcome == 1
    assert kind is Kind.REVEAL or world.nodes[friend].results[last_round].scores is not None


def test_whoever_settles_by_the_others_signatures_adds_its_own() -> None:
    """It may lack the Commits, and in the last round nothing comes after it that would tell the others."""
    node = known_world(4, saved=saved_after(4, 0), last_round=1).run(300).nodes[0]
    assert node.session is not None
    done = node.session.current

    def is_heard(event: Event) -> bool:
        key = decode_message(event.envelope.body).key if isinstance(event, Heard) else (Kind.OPEN, 0, 0)
        return key[0] is not Kind.SIGN and (key[0], key[2]) != (Kind.COMMIT, OUTCOME)

    signs = [record.envelope for sender, record in done.records(Kind.SIGN).items() if sender != node.me]
    state, said = one_round.begin(done.context, 0.0)
    for event in (*(event for _, event in node.log if is_heard(event)), *map(Heard, signs)):
        state, effects = one_round.step(state, event, 0.0)
        said += effects
    assert state.is_settled
    assert state.agreements[OUTCOME].final is None
    kinds = [decode_message(effect.envelope.body).kind for effect in said if isinstance(effect, Announce)]
    assert kinds.count(Kind.SIGN) == 1


@pytest.mark.parametrize("breaks_rule", [False, True], ids=["two versions", "breaks a rule"])
def test_who_is_proven_false_to_one_member_alone_does_not_part_it_from_the_others(breaks_rule: bool) -> None:
    """That member needs one sum less than the others, who have to learn why."""
    liar, friend, victim = 3, 0, 2
    scenario = Scenario(lies={liar: liars.show_fault_to(friend, breaks_rule=breaks_rule)})
    world = known_world(4, saved=saved_after(4, 0), last_round=1, scenario=scenario)
    liars.deal_late(world, liar, victim, never_in_round=1)
    world.run(300)
    assert_agreement(world, liars=frozenset({liar}))
    assert {member for _, member, effect in world.effects(Blame)} >= {0, 1, 2}


@pytest.mark.parametrize("kind", [Kind.DEAL, Kind.PROOF, Kind.RECEIPT], ids=lambda kind: kind.name)
def test_a_dealer_that_shows_one_member_another_version_and_stops_loses_no_round(kind: Kind) -> None:
    liar = 3
    scenario = Scenario(lies={liar: liars.tell_apart(kind, 0)})
    world = known_world(4, saved=saved_after(4, 0), last_round=1, scenario=scenario).run(300)
    assert_agreement(world, liars=frozenset({liar}))
    assert world.blamed() == {liar}
    assert world.nodes[0].results[1].outcome == 1


def test_nobody_makes_a_share_public_that_a_liar_passes_for_its_own() -> None:
    """With the liar's own share of that dealing it would be enough to know another member's update."""
    liar, dealer, victim = 3, 1, 0
    world = known_world(4, saved=saved_after(4, 0), last_round=1)
    liars.pass_for_own(world, liar, dealer, victim)
    secret: set[bytes] = set()
    complaints = 0
    while not world.is_over:
        world.run_on(0.1)
        deal = world.nodes[victim].session.current.records(Kind.DEAL).get(dealer)  # type: ignore[union-attr]
        if deal is not None and isinstance(deal.message, Deal):
            secret.add(deal.message.shares[victim])
        for node in world.nodes:
            assert node.session is not None
            complaints += any(key[0] is Kind.COMPLAINT for key in node.session.current.heard)
            assert node.me == liar or not secret & node.session.current.payloads
    assert complaints, "the liar never complained"
    assert_agreement(world, liars=frozenset({liar}))


@pytest.mark.parametrize(
    ("is_its_share", "reason"),
    [(True, "false complaint"), (False, "complaint about a share that was never dealt")],
    ids=["its share", "a share never dealt"],
)
def test_who_complains_of_a_true_dealer_is_named_and_the_dealer_counts(is_its_share: bool, reason: str) -> None:
    liar, dealer = 1, 3
    scenario = Scenario(lies={liar: liars.complain_of(dealer, is_its_share)})
    world = known_world(4, saved=saved_after(4, 1), scenario=scenario).run(300)
    assert_agreement(world, liars=frozenset({liar}))
    found = [effect for _, _, effect in world.effects(Blame) if isinstance(effect, Blame)]
    assert {(effect.member, effect.reason) for effect in found} == {(liar, reason)}
    assert dealer in world.nodes[0].results[2].dealer_set


@pytest.mark.parametrize("n", [4, 7])
def test_a_two_faced_proposer_makes_no_second_set_final(n: int) -> None:
    proposer = 2 % n
    scenario = Scenario(lies={proposer: liars.two_faced})
    world = known_world(n, saved=saved_after(n, 1), scenario=scenario).run(300)
    assert_agreement(world, liars=frozenset({proposer}))
    assert world.blamed() == {proposer}


ELSEWHERE = {Kind.OPEN, Kind.COMPLAINT, Kind.STATUS, Kind.PIECE, Kind.CHECK}


@pytest.mark.parametrize("kind", sorted(set(Kind) - ELSEWHERE), ids=lambda kind: kind.name)
@pytest.mark.parametrize("n", [4, 7])
def test_who_says_two_things_is_named_with_both(n: int, kind: Kind) -> None:
    proposer, other = 2 % n, 3
    liar = proposer if kind in (Kind.FREEZE, Kind.PROPOSE) else other
    scenario = Scenario(lies={liar: liars.equivocate(kind)})
    world = known_world(n, saved=saved_after(n, 1), scenario=scenario).run(300).run_on(3.0)
    assert_agreement(world, liars=frozenset({liar}))
    shown = [e for _, _, e in world.effects(Blame) if isinstance(e, Blame) and e.reason == "equivocation"]
    assert shown, "nobody met both versions"
    for effect in shown:
        first, second = (decode_message(envelope.body) for envelope in effect.evidence)
        assert effect.member == liar
        assert first.key == second.key
        assert first.key[0] is kind
        assert first != second


def test_who_hides_a_certificate_from_some_is_named_with_both_statuses() -> None:
    world = known_world(4, saved=saved_after(4, 1)).run(0.0)
    me, *others = world.nodes
    assert me.session is not None
    config, digest = me.identity.config, bytes(32)
    value = SetValue(digest, *(((0, digest), (1, digest), (2, digest)),) * 3)
    confirms = [liars.signed(node, Confirm(config, 2, 0, SET, value_digest(value))) for node in others]
    certificate = Certificate(0, value, tuple((envelope.sender, envelope.signature) for envelope in confirms))
    liar, state, found = others[2], me.session.current, []
    for prepared in (None, certificate):
        envelope = liars.signed(liar, Status(config, 2, 1, SET, prepared))
        state, effects = one_round.step(state, Heard(envelope), 1.0)
        found += [effect for effect in effects if isinstance(effect, Blame)]
    assert [(effect.member, effect.reason, len(effect.evidence)) for effect in found] == [(liar.me, "equivocation", 2)]


def test_who_is_named_in_two_rounds_is_left_out_of_the_third() -> None:
    liar = 1
    scenario = Scenario(lies={liar: liars.equivocate(Kind.RECEIPT)}, exchange_seconds=0.1)
    world = known_world(4, rounds=4, scenario=scenario).run(300)
    assert_agreement(world, liars=frozenset({liar}))
    named = [min(t for t, m, e in world.effects(Blame) if m == member) for member in (0, 2, 3)]
    assert len(named) == 3, "every honest member met both versions"
    assert liar in world.nodes[0].results[0].dealer_set
    said = [(key, decode_message(envelope.body)) for key, envelope in world.said.items()]
    frozen = [
        (round_id, {dealer for dealer, _ in message.deals})
        for (sender, round_id, *_), message in said
        if isinstance(message, Freeze) and sender != liar and round_id >= 3
    ]
    assert frozen
    assert all(liar not in dealers for _, dealers in frozen), frozen


@pytest.mark.parametrize("has_moved_on", [False, True])
def test_confirms_that_come_after_a_status_lead_to_no_commit(has_moved_on: bool) -> None:
    """Without this rule two sets become final (protocol analysis, P2)."""
    world = known_world(4, saved=saved_after(4, 1))
    world.run(0.0)
    nodes = world.nodes
    me = nodes[0]
    assert me.session is not None
    state, config = me.session.current, me.identity.config
    digest = bytes(32)
    value = SetValue(digest, *(((0, digest), (1, digest), (2, digest)),) * 3)
    said = []
    others = [node for node in nodes if node is not me]
    if has_moved_on:
        said += [liars.signed(node, Status(config, 2, 1, SET, None)) for node in others[:2]]
    proposer = nodes[state.context.proposer(0)]
    said.append(liars.signed(proposer, Propose(config, 2, 0, SET, value, ())))
    said += [liars.signed(node, Confirm(config, 2, 0, SET, value_digest(value))) for node in others]
    announced = []
    for envelope in said:
        state, effects = one_round.step(state, Heard(envelope), 1.0)
        announced += [decode_message(e.envelope.body) for e in effects if isinstance(e, Announce)]
    commits = [message for message in announced if message.key[0] is Kind.COMMIT]
    assert bool(commits) is not has_moved_on


def test_a_value_that_no_update_within_its_norm_has_earns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = known_world(4, saved=saved_after(4, 1)).run(300).nodes[0].results[2].scores
    assert honest is not None
    assert all(honest)
    spec = small_spec()
    beyond = score_bound(spec, 1) + 1
    opened = scores.open_score

    def of_the_first(answers: Mapping[int, int], *given: object) -> tuple[int | None, tuple[int, ...]]:
        value, wrong = opened(answers, *given)  # type: ignore[arg-type]
        return (beyond if value == first else value), wrong

    values: list[int | None] = []
    monkeypatch.setattr(scores, "open_score", lambda *given: values.append(opened(*given)[0]) or opened(*given))
    known_world(4, saved=saved_after(4, 1)).run(300)
    first = values[0]
    monkeypatch.setattr(scores, "open_score", of_the_first)
    found = known_world(4, saved=saved_after(4, 1)).run(300).nodes[0].results[2].scores
    assert found == (0, *honest[1:])
