"""RewardVault.fund: anybody pays in, nobody gets it back."""

from __future__ import annotations

from tests.helpers.chain import GAS, Consortium, Refusal


def test_funding_with_nothing_is_refused(consortium: Consortium) -> None:
    assert consortium.chain.refusal(consortium.vault.functions.fund(0)) == Refusal("NothingFunded")


def test_money_sent_without_calling_fund_is_refused(consortium: Consortium) -> None:
    w3 = consortium.chain.w3
    transaction = {"from": w3.eth.accounts[1], "to": consortium.vault.address, "value": 5, "gas": GAS}
    receipt = w3.eth.get_transaction_receipt(w3.eth.send_transaction(transaction))
    assert receipt["status"] == 0
    assert consortium.chain.balance(consortium.vault.address) == 0


def test_payments_add_up_and_name_their_sender(consortium: Consortium) -> None:
    chain, vault = consortium.chain, consortium.vault
    for sender, amount in ((chain.w3.eth.accounts[1], 7), (chain.w3.eth.accounts[2], 10**18)):
        receipt = chain.send(vault.functions.fund(amount), value=amount, sender=sender)
        assert chain.events(vault, "Funded", receipt) == [{"from": sender, "amountWei": amount}]
    assert vault.functions.totalFunded().call() == 10**18 + 7
    assert chain.balance(vault.address) == 10**18 + 7
