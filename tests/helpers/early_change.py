"""A roster that changes before its ledger exists."""

from __future__ import annotations

from typing import Any

from ledger import artifacts
from ledger.approvals import Exit
from tests.helpers.chain import Chain, address_of, compact_signature, key_of


class EarlyChange(Chain):
    """A chain on which the last of `n` members leaves between the registry's deployment and the ledger's."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self._leaver = n - 1
        self._account = key_of(f"account {n - 1}")
        self.adopt(self._account)

    def deploy(self, name: str, *args: Any) -> Any:
        if name == "RoundLedger":
            registry = self.w3.eth.contract(address=args[0], abi=artifacts.load("MemberRegistry").abi)
            approval = Exit(bytes(registry.functions.configDigest().call()), self._leaver)
            signed = compact_signature(self._account, approval.signing_digest(self.w3.eth.chain_id, registry.address))
            self.send(registry.functions.leaveRoster(self._leaver, signed), sender=address_of(self._account))
        return super().deploy(name, *args)
