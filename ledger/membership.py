"""The transactions that change a roster, from whoever has the approvals."""

from __future__ import annotations

from typing import Any, Final

from eth_typing import Hash32

from ledger.approvals import Approval
from ledger.connection import Connection, Key, account_of
from ledger.types import MAX_GAS_PRICE_WEI, SIGNATURE_BYTES, Member

CHANGE_GAS: Final = 500_000
MEMBER_GAS: Final = 45_000
SIGNATURE_GAS: Final = 12_000
"""An admission was measured at 419 thousand for four members and 2.1 million for 64, of which 43 signed."""


class Membership:
    """The registry of one consortium, to be changed; blocking.

    Raises:
        ChainUnavailable: the endpoint does not answer as a chain does.
        WrongChain: it serves another chain.
        NoContract: the registry is not there.
    """

    def __init__(
        self,
        rpc_url: str,
        registry: str,
        *,
        expect_chain_id: int | None = None,
        max_gas_price_wei: int = MAX_GAS_PRICE_WEI,
    ) -> None:
        self._connection = Connection(rpc_url, expect_chain_id, max_gas_price_wei)
        self._registry = self._connection.contract("MemberRegistry", registry)

    @property
    def chain_id(self) -> int:
        """EIP-155 id of the chain that the endpoint serves."""
        return self._connection.chain_id

    def sign(self, key: Key, approval: Approval) -> bytes:
        """The key's EIP-2098 signature of `approval`, 64 bytes."""
        digest = approval.signing_digest(self.chain_id, self._registry.address)
        signed = account_of(key).unsafe_sign_hash(Hash32(digest))
        vs = signed.s | (signed.v - 27) << 255
        return signed.r.to_bytes(32, "big") + vs.to_bytes(SIGNATURE_BYTES - 32, "big")

    def admit(self, key: Key, member: Member, signers: int, signatures: bytes) -> str:
        """Hash of the transaction that takes `member` in; `key` pays for it.

        Raises:
            Reverted: the registry refuses, here and below.
        """
        entry = (member.account, member.signer, member.name, member.peer_id.encode("ascii"), member.net_address)
        return self._send(key, self._registry.functions.admit(entry, signers, signatures), signers.bit_count())

    def remove(self, key: Key, index: int, evidence: bytes, signers: int, signatures: bytes) -> str:
        """Hash of the transaction that removes a member."""
        call = self._registry.functions.remove(index, evidence, signers, signatures)
        return self._send(key, call, signers.bit_count())

    def rotate(self, key: Key, member: Member, signature: bytes) -> str:
        """Hash of the transaction that gives the member with this index the keys and the address of `member`."""
        fields = (member.account, member.signer, member.peer_id.encode("ascii"), member.net_address)
        return self._send(key, self._registry.functions.rotate(member.index, *fields, signature), 1)

    def leave(self, key: Key, index: int, signature: bytes) -> str:
        """Hash of the transaction that ends a membership."""
        return self._send(key, self._registry.functions.leaveRoster(index, signature), 1)

    def _send(self, key: Key, call: Any, signatures: int) -> str:
        members = int(self._connection.call(self._registry.functions.memberCount()))
        gas = CHANGE_GAS + MEMBER_GAS * members + SIGNATURE_GAS * signatures
        data = str(call._encode_transaction_data())
        tx, _ = self._connection.send(key, {"to": call.address, "data": data}, gas)
        return tx
