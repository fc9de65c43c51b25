"""Every single check of the contracts is there because a test fails without it."""

from __future__ import annotations

import pytest

from tests.helpers.mutants import FIRST, all_mutants, build_module, survivors


def test_every_contract_has_its_checks_among_the_mutants() -> None:
    _, mutants = all_mutants(build_module().read_sources())
    assert {mutant.stem for mutant in mutants} == set(FIRST)
    assert len(mutants) > 150


@pytest.mark.slow
@pytest.mark.parametrize("contract", FIRST)
def test_a_test_fails_without_each_check(contract: str) -> None:
    assert survivors(contract) == []
