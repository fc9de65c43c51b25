"""RoundLedger and RewardVault: they exist only for the registry that names them."""

from __future__ import annotations

from ledger.types import DAY_SECONDS, ZERO_ADDRESS, domain_separator
from tests.helpers.chain import (
    DISPUTES,
    SPEC,
    TERMS,
    Chain,
    Consortium,
    Refusal,
    address_of,
    deploy_consortium,
    entries,
    key_of,
)

STRANGER = address_of(key_of("stranger"))
TERM_ARGUMENTS = (ZERO_ADDRESS, TERMS.round_budget_wei, TERMS.participation_ppm, 2 * DAY_SECONDS)
WINDOWS = (TERMS.dispute_window_seconds, DISPUTES.ruling_seconds)


def test_a_ledger_without_a_registry_is_refused() -> None:
    chain = Chain()
    call = chain.construction("RoundLedger", STRANGER, *WINDOWS)
    assert chain.refusal(call) == Refusal("NoRegistry", (STRANGER.lower(),))


def test_a_second_ledger_of_the_same_registry_is_refused(consortium: Consortium) -> None:
    call = consortium.chain.construction("RoundLedger", consortium.registry.address, *WINDOWS)
    assert consortium.chain.refusal(call) == Refusal("NotTheLedger", (consortium.ledger.address.lower(),))


def test_a_vault_without_a_registry_is_refused() -> None:
    chain = Chain()
    call = chain.construction("RewardVault", STRANGER, STRANGER, *TERM_ARGUMENTS)
    assert chain.refusal(call) == Refusal("NoRegistry", (STRANGER.lower(),))


def test_a_second_vault_of_the_same_registry_is_refused(consortium: Consortium) -> None:
    call = consortium.chain.construction(
        "RewardVault", consortium.registry.address, consortium.ledger.address, *TERM_ARGUMENTS
    )
    assert consortium.chain.refusal(call) == Refusal("NotTheVault", (consortium.vault.address.lower(),))


def test_a_vault_with_a_ledger_that_the_registry_does_not_name_is_refused() -> None:
    chain = Chain()
    registry = chain.deploy("MemberRegistry", entries(3), SPEC, *(chain.predicted(ahead) for ahead in (1, 2, 3)))
    ledger = chain.deploy("RoundLedger", registry.address, *WINDOWS)
    call = chain.construction("RewardVault", registry.address, STRANGER, *TERM_ARGUMENTS)
    # A refused call is mined, which moves the nonce: simulate only, so that the address still fits.
    assert chain.refusal(call, mine=False) == Refusal("NotTheLedger", (ledger.address.lower(),))


def test_more_than_the_whole_budget_for_participation_is_refused() -> None:
    chain = Chain()
    registry = chain.deploy("MemberRegistry", entries(3), SPEC, *(chain.predicted(ahead) for ahead in (1, 2, 3)))
    ledger = chain.deploy("RoundLedger", registry.address, *WINDOWS)
    call = chain.construction(
        "RewardVault", registry.address, ledger.address, ZERO_ADDRESS, 1, 1_000_001, 2 * DAY_SECONDS
    )
    assert chain.refusal(call, mine=False) == Refusal("ParticipationOutOfRange", (1_000_001,))


def test_a_new_ledger_has_no_rounds_and_the_domain_that_clients_compute(consortium: Consortium) -> None:
    views = consortium.ledger.functions
    assert views.VERSION().call() == "2.0.0"
    assert views.registry().call() == consortium.registry.address
    assert views.nextRound().call() == 0
    assert views.resultDigest(0).call() == bytes(27)
    assert views.recordedAt(0).call() == 0
    expected = domain_separator(consortium.chain.w3.eth.chain_id, consortium.ledger.address)
    assert views.domainSeparator().call() == expected


def test_a_new_vault_holds_nothing_and_publishes_its_terms(consortium: Consortium) -> None:
    views = consortium.vault.functions
    assert views.VERSION().call() == "2.0.0"
    assert views.registry().call() == consortium.registry.address
    assert views.ledger().call() == consortium.ledger.address
    assert views.roundBudget().call() == TERMS.round_budget_wei
    assert views.participationPpm().call() == TERMS.participation_ppm
    assert views.disputeWindowSeconds().call() == TERMS.dispute_window_seconds
    for view in ("totalFunded", "totalClaimed", "activeRound", "activeTotal"):
        assert views[view]().call() == 0
    assert views.activeRoot().call() == bytes(32)


def test_the_terms_are_in_an_event_of_the_deployment() -> None:
    consortium = deploy_consortium(3)
    block = consortium.chain.w3.eth.get_block(consortium.chain.w3.eth.block_number - 1)
    receipt = consortium.chain.w3.eth.get_transaction_receipt(block["transactions"][0])
    expected = {"roundBudget": 10**18, "participationPpm": 500_000, "disputeWindowSeconds": 3600}
    assert consortium.chain.events(consortium.vault, "TermsAdopted", receipt) == [expected]
