"""Who may connect follows the registry; who takes part in the round under way does not change with it."""

from __future__ import annotations

from gossip.committee import Committee
from node.admission import Admission
from tests.helpers.learners import small_spec
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


def test_places_in_the_committee_leave_no_gap_where_a_member_is_gone() -> None:
    everybody = [member(index) for index in range(5)]
    admission = Admission(roster(*everybody, active=0b11011, version=2))
    assert admission.index_of(member(3).peer_id) == 2
    assert admission.peer_id_of(3) == member(4).peer_id
    assert admission.name_at(2) == "m3"


def test_new_committee_gives_the_new_member_its_place() -> None:
    admission = Admission(FIRST)
    new = roster(*FIRST.members, member(3), version=2)
    admission.renew(new)
    admission.seat(Committee(bytes(32), tuple(bytes.fromhex(signer[2:]) for signer in new.signers), small_spec()))
    assert admission.index_of(member(3).peer_id) == 3


def test_no_more_members_are_cut_off_at_once_than_a_round_can_do_without() -> None:
    everybody = [member(index) for index in range(5)]
    admission = Admission(roster(*everybody))
    admission.renew(roster(*everybody, active=0b11101, version=2))
    assert not admission.has(member(1).peer_id)
    shrunk = roster(*everybody, active=0b11001, version=3)
    admission.renew(shrunk)
    assert admission.has(member(2).peer_id)
    admission.seat(Committee(bytes(32), tuple(bytes.fromhex(signer[2:]) for signer in shrunk.signers), small_spec()))
    assert not admission.has(member(2).peer_id)
