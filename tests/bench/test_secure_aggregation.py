"""What `make bench-secagg` measures is what a member does: the work of each phase runs, and gives what it should."""

from __future__ import annotations

import numpy as np
import pytest

from gossip import shamir
from tests.bench.secure_aggregation import Member


@pytest.mark.parametrize("n", [3, 4, 16])
def test_every_phase_of_a_member_runs(n: int) -> None:
    member = Member(n, 500)
    for phase in Member.PHASES:
        getattr(member, phase)()


@pytest.mark.parametrize("n", [3, 8])
def test_every_blob_received_is_one_that_its_dealer_may_send(n: int) -> None:
    member = Member(n, 500)
    assert len(member.blobs) == n
    for dealer, blob in enumerate(member.blobs):
        assert shamir.is_blob(blob, member.layout, dealer, member.holder)


def test_what_is_reconstructed_is_what_was_dealt() -> None:
    member = Member(8, 500)
    assert np.array_equal(shamir.recombine(member.sums, member.layout), member.dealt.secrets.payload)
