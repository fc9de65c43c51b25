"""MemberRegistry: 256 roster indices, none used twice."""

from __future__ import annotations

import pytest

from ledger.approvals import Admission, Exit
from tests.helpers.chain import Refusal, compact_signature, deploy_consortium, entry, key_of
from tests.helpers.scene import address_of


@pytest.mark.slow
def test_a_257th_member_is_refused_although_only_four_are_active() -> None:
    consortium = deploy_consortium(4)
    chain, registry = consortium.chain, consortium.registry
    newcomer = entry(3, account=address_of(key_of("newcomer")), signer=address_of(key_of("signer 3")))

    def admission() -> object:
        digest = Admission(consortium.config, *newcomer).signing_digest(consortium.chain_id, registry.address)
        signed = b"".join(compact_signature(key_of(f"signer {index}"), digest) for index in range(3))
        return registry.functions.admit(tuple(newcomer), 0b111, signed)

    def leaving(index: int, label: str) -> object:
        digest = Exit(consortium.config, index).signing_digest(consortium.chain_id, registry.address)
        return registry.functions.leaveRoster(index, compact_signature(key_of(label), digest))

    chain.send(leaving(3, "account 3"))
    for index in range(4, 256):
        chain.send(admission())
        chain.send(leaving(index, "newcomer"))
    assert chain.refusal(admission(), mine=False) == Refusal("IndicesExhausted")
