"""Who may connect follows the registry; who takes part in the round under way does not change with it."""

from __future__ import annotations

from node.admission import Admission
from tests.helpers.rosters import FIRST, member, roster


def test_new_member_is_admitted_and_has_no_part_in_the_round_under_way() -> None:
    admission = Admission(FIRST)
    admission.renew(roster(*FIRST.members, member(3), version=2))
    new = member(3).peer_id
    assert new in {place.peer_id for place in admission.addresses()}
    assert admission.index_of(new) is None
    assert list(admission.peer_ids()) == [0, 1, 2]


def test_rotated_node_key_stands_for_the_same_member() -> None:
    admission = Admission(FIRST)
    admission.renew(roster(member(0), member(1, key=9), member(2), version=2))
    assert admission.index_of(member(1, key=9).peer_id) == 1
    assert admission.index_of(member(1).peer_id) is None
    assert admission.peer_id_of(1) == member(1, key=9).peer_id


def test_removed_member_is_nobody_and_keeps_its_name() -> None:
    admission = Admission(FIRST)
    admission.renew(roster(member(0), member(1), version=2))
    assert not admission.has(member(2).peer_id)
    assert admission.peer_id_of(2) == ""
    assert admission.name_of(member(2).peer_id) == "m2"


def test_another_institution_in_a_removed_ones_place_has_no_part_in_its_round() -> None:
    stranger = member(2, key=9, signer="0x" + "99" * 20)
    admission = Admission(FIRST)
    admission.renew(roster(member(0), member(1), stranger, version=2))
    assert admission.index_of(stranger.peer_id) is None


def test_entry_that_names_no_place_costs_nobody_else() -> None:
    nowhere = member(1, peer_id="Qm1111")
    assert len(Admission(roster(member(0), nowhere, member(2))).addresses()) == 2
