"""An audit never finds anything in an honest history, however wild it was."""

from __future__ import annotations

import pytest

from tests.helpers.chain import deploy_consortium
from tests.helpers.early_change import EarlyChange
from tests.helpers.lying_proxy import honest
from tests.helpers.random_storm import RandomStorm
from tests.helpers.storm import SPEC, Shown

SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] if seed >= 3 else []) for seed in range(30)]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_honest_history_fits(seed: int) -> None:
    storm = RandomStorm(seed)
    storm.blow(80)
    report = Shown(storm.consortium).audit(honest)
    assert report.findings == ()
    assert report.checked.rounds == len(storm.results) > 0
    assert [member.earned_wei or 0 for member in report.members][: len(storm.cumulative)] == list(storm.cumulative)
    assert len(storm.done) > 8


def test_a_roster_that_changed_before_its_ledger_existed_is_no_finding() -> None:
    assert Shown(deploy_consortium(4, chain=EarlyChange(4), spec=SPEC)).audit(honest).findings == ()
