"""A consortium's contracts on an in-process chain, and builders of what they accept."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from coincurve import PrivateKey
from eth_abi.abi import decode
from eth_hash.auto import keccak
from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from eth_utils.address import to_checksum_address
from rlp import encode as rlp_encode
from web3 import EthereumTesterProvider, Web3

from ledger import artifacts
from ledger.approvals import Approval
from ledger.rewards import deals_root, pack_scores, rewards_root, scores_digest
from ledger.types import (
    DAY_SECONDS,
    EMPTY,
    SETTLED,
    SIGNATURE_BYTES,
    TRAINING,
    ZERO_ADDRESS,
    DisputeTerms,
    RoundResult,
    VaultTerms,
    bitmap_of,
    members_of,
)

GAS: Final = 28_000_000
"""Explicit, so that a refused transaction is mined and seen as such, as on a real chain."""

GENESIS_TIME: Final = 1_800_000_000
ETHER: Final = 10**18
TERMS: Final = VaultTerms(round_budget_wei=ETHER, participation_ppm=500_000, dispute_window_seconds=3600)
DISPUTES: Final = DisputeTerms(ruling_seconds=7200, unbonding_seconds=2 * DAY_SECONDS, bond_wei=1000)
SPEC: Final = b'{"task":"test"}'
MOCKS: Final = Path(__file__).parents[2] / "contracts" / "test" / "artifacts"

CURVE_ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141

Call = Any  # a web3 ContractFunction or ContractConstructor


@dataclass(frozen=True)
class Refusal:
    """How a contract refused: the custom error's name and arguments, "" where it gave no reason."""

    name: str
    args: tuple[Any, ...] = ()


def key_of(label: str) -> PrivateKey:
    """A private key that only the label determines."""
    return PrivateKey(keccak(label.encode()))


def address_of(key: PrivateKey) -> str:
    return to_checksum_address(keccak(key.public_key.format(compressed=False)[1:])[-20:])


def compact_signature(key: PrivateKey, digest: bytes) -> bytes:
    """EIP-2098 signature of `digest`, 64 bytes."""
    signature = key.sign_recoverable(digest, hasher=None)
    return signature[:32] + bytes([signature[32] | signature[64] << 7]) + signature[33:64]


class Entry(NamedTuple):
    """A registry's entry, as its constructor takes it."""

    account: str
    signer: str
    name: str
    peer_id: bytes
    net_address: str


def entry(index: int, **changes: Any) -> Entry:
    """The entry of the member with this index."""
    valid = Entry(
        account=address_of(key_of(f"account {index}")),
        signer=address_of(key_of(f"signer {index}")),
        name=f"hospital-{index}",
        peer_id=f"12D3KooW{index:044d}".encode(),
        net_address=f"10.0.0.{index}:4{index:03d}",
    )
    return valid._replace(**changes)


def entries(n: int) -> list[Entry]:
    return [entry(index) for index in range(n)]


def create_address(sender: str, nonce: int) -> str:
    """Where a contract created by `sender` with this nonce will be."""
    return to_checksum_address(keccak(rlp_encode([bytes.fromhex(sender[2:]), nonce]))[-20:])


class Chain:
    """An in-process chain; every transaction has explicit gas, every receipt's status is looked at."""

    def __init__(self) -> None:
        genesis = PyEVMBackend.generate_genesis_params({"timestamp": GENESIS_TIME})
        self.tester = EthereumTester(PyEVMBackend(genesis_parameters=genesis))
        self.w3 = Web3(EthereumTesterProvider(self.tester))
        self.deployer: str = self.w3.eth.accounts[0]
        self._errors = dict(artifacts.errors())

    def factory(self, name: str) -> Any:
        artifact = artifacts.load(name)
        return self.w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)

    def construction(self, name: str, *args: Any) -> Call:
        """The call that deploys the contract `name`."""
        # web3 rebuilds tuples by type, which named ones do not survive.
        plain = [[tuple(part) for part in arg] if isinstance(arg, list) else arg for arg in args]
        return self.factory(name).constructor(*plain)

    def deploy(self, name: str, *args: Any) -> Any:
        factory = self.factory(name)
        receipt = self.send(self.construction(name, *args))
        return self.w3.eth.contract(address=receipt["contractAddress"], abi=factory.abi)

    def deploy_mock(self, name: str) -> Any:
        """A contract of contracts/test/."""
        artifact = json.loads((MOCKS / f"{name}.json").read_text(encoding="utf-8"))
        factory = self.w3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
        return self.w3.eth.contract(address=self.send(factory.constructor())["contractAddress"], abi=artifact["abi"])

    def predicted(self, ahead: int) -> str:
        """Where the deployer's contract will be that is created after `ahead` others."""
        nonce = self.w3.eth.get_transaction_count(self.deployer)
        return create_address(self.deployer, nonce + ahead)

    def send(self, call: Call, *, value: int = 0, sender: str | None = None) -> Any:
        """The receipt of a call that succeeds."""
        receipt = self.mine(call, value=value, sender=sender)
        assert receipt["status"] == 1, self.refusal(call, value=value, sender=sender, mine=False)
        return receipt

    def mine(self, call: Call, *, value: int = 0, sender: str | None = None) -> Any:
        """The receipt of a call, which may have failed: see its status."""
        fees = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 1}
        tx = self.w3.eth.send_transaction(self._transaction(call, value, sender) | fees)  # type: ignore[arg-type]
        return self.w3.eth.get_transaction_receipt(tx)

    def refusal(self, call: Call, *, value: int = 0, sender: str | None = None, mine: bool = True) -> Refusal | None:
        """How the contract refuses the call; None if it accepts it.  The refused transaction is mined as well."""
        try:
            self._simulate(call, value, sender)
        except TransactionFailed as error:
            if mine:
                assert self.mine(call, value=value, sender=sender)["status"] == 0
            return self._decoded(error)
        return None

    def events(self, contract: Any, name: str, receipt: Any) -> list[dict[str, Any]]:
        """Arguments of the contract's events of this name in the receipt."""
        mine = [log for log in receipt["logs"] if log["address"] == contract.address]
        event = contract.events[name]()
        topic = keccak(artifacts.error_signature(flat(event.abi)).encode())
        return [dict(event.process_log(log)["args"]) for log in mine if bytes(log["topics"][0]) == topic]

    def adopt(self, key: PrivateKey) -> str:
        """The address of `key`, from which transactions can be sent from now on; rich, so that it can pay gas."""
        address = address_of(key)
        if address not in self.w3.eth.accounts:
            self.tester.add_account("0x" + key.secret.hex())
        transfer = {"from": self.deployer, "to": address, "value": ETHER, "gas": 50_000}
        self.w3.eth.get_transaction_receipt(self.w3.eth.send_transaction(transfer))  # type: ignore[arg-type]
        return address

    @property
    def now(self) -> int:
        """Time of the newest block."""
        return int(self.w3.eth.get_block("latest")["timestamp"])

    def balance(self, address: str) -> int:
        return int(self.w3.eth.get_balance(address))

    def travel_to(self, timestamp: int) -> None:
        """The next transaction's block has that time; every later one is a second after the one before."""
        self.tester.time_travel(timestamp)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Everything done inside the block is undone at its end."""
        snapshot = self.tester.take_snapshot()
        try:
            yield
        finally:
            self.tester.revert_to_snapshot(snapshot)

    def _transaction(self, call: Call, value: int, sender: str | None) -> dict[str, Any]:
        transaction = {
            "from": sender or self.deployer,
            "value": value,
            "gas": GAS,
            "data": getattr(call, "data_in_transaction", None) or call._encode_transaction_data(),
        }
        return transaction | ({"to": call.address} if getattr(call, "address", None) else {})

    def _simulate(self, call: Call, value: int, sender: str | None) -> None:
        # In the block that comes next, whose time may decide.
        self.w3.eth.call(self._transaction(call, value, sender), "pending")  # type: ignore[arg-type]

    def _decoded(self, error: TransactionFailed) -> Refusal:
        found = str(error.args[0]).removeprefix("execution reverted: ")
        data = ast.literal_eval(found) if found.startswith(("b'", 'b"')) else b""
        abi = self._errors.get(data[:4])
        if abi is None:
            return Refusal(str(error.args[0]) if data else "")
        return Refusal(abi["name"], decode([part["type"] for part in abi["inputs"]], data[4:]))


def flat(abi: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with its tuples spelled out, as signatures are hashed."""

    def spelled(part: Mapping[str, Any]) -> str:
        if not part["type"].startswith("tuple"):
            return str(part["type"])
        return f"({','.join(map(spelled, part['components']))}){part['type'][5:]}"

    return {"name": abi["name"], "inputs": [{"type": spelled(part)} for part in abi["inputs"]]}


@dataclass(frozen=True)
class Consortium:
    """A deployment with its members' keys; `accounts` are plain addresses unless a test says otherwise."""

    chain: Chain
    registry: Any
    ledger: Any
    vault: Any
    disputes: Any
    accounts: tuple[str, ...]
    signer_keys: tuple[PrivateKey, ...]
    results: list[RoundResult]
    spec: bytes = SPEC

    @property
    def n(self) -> int:
        return len(self.signer_keys)

    @property
    def contracts(self) -> tuple[Any, Any, Any, Any]:
        """In the order of their deployment."""
        return self.registry, self.ledger, self.vault, self.disputes

    @property
    def chain_id(self) -> int:
        return int(self.chain.w3.eth.chain_id)

    @property
    def config(self) -> bytes:
        """Config digest of the newest roster."""
        return bytes(self.registry.functions.configDigest().call())

    @property
    def quorum(self) -> int:
        return 2 * self.n // 3 + 1

    def result(self, **changes: Any) -> RoundResult:
        """The next round's result: training, settled by everybody, unscored, nothing paid; with `changes`."""
        following: int = self.ledger.functions.nextRound().call()
        previous = self.results[following - 1].struct_hash() if following else EMPTY
        everybody = range(self.n)
        valid = RoundResult(
            round=following,
            kind=TRAINING,
            outcome=SETTLED,
            previous=previous,
            config=self.config,
            dealers=(1 << self.n) - 1,
            model=keccak(b"model %d" % following),
            deals=deals_root({index: keccak(b"deal %d" % index) for index in everybody}),
            scores=EMPTY,
            rewards=rewards_root([0] * self.n),
            rewards_total=0,
        )
        return replace(valid, **changes)

    def sign(self, result: RoundResult, indices: Sequence[int] | None = None, chain_id: int | None = None) -> bytes:
        """The signatures of these members (by default of the first quorum), in the order given."""
        chosen = range(self.quorum) if indices is None else indices
        digest = result.signing_digest(chain_id or self.chain.w3.eth.chain_id, self.ledger.address)
        return b"".join(compact_signature(self.signer_keys[index], digest) for index in chosen)

    def submission(
        self,
        result: RoundResult,
        scores: bytes = b"",
        signers: int | None = None,
        signatures: bytes | None = None,
    ) -> Call:
        """The call that submits `result`, signed by the first quorum unless told otherwise."""
        bitmap = (1 << self.quorum) - 1 if signers is None else signers
        signed = self.sign(result, members_of(bitmap)) if signatures is None else signatures
        return self.ledger.functions.submitRound(result.as_tuple(), scores, bitmap, signed)

    def record(self, result: RoundResult | None = None, scores: Sequence[int] | None = None) -> RoundResult:
        """Submits `result`, or the next valid one, and returns it."""
        recorded = result or self.result(scores=scores_digest(scores))
        self.chain.send(self.submission(recorded, b"" if scores is None else pack_scores(scores)))
        del self.results[recorded.round :]  # what a test undid
        self.results.append(recorded)
        return recorded

    def fund(self, amount_wei: int, sender: str | None = None) -> Any:
        """The receipt of a payment into the pool."""
        return self.chain.send(self.vault.functions.fund(amount_wei), value=amount_wei, sender=sender)

    def approve(self, approval: Approval, contract: Any, indices: Sequence[int] | None = None) -> tuple[int, bytes]:
        """Bitmap and signatures of these members (by default of the first quorum) for `contract`."""
        chosen = range(self.quorum) if indices is None else indices
        digest = approval.signing_digest(self.chain_id, contract.address)
        signed = b"".join(compact_signature(self.signer_keys[index], digest) for index in chosen)
        return bitmap_of(chosen), signed

    def record_rewards(self, cumulative: Sequence[int]) -> RoundResult:
        """Records a round after which these are the cumulative rewards; round 0 first if there is none."""
        if self.ledger.functions.nextRound().call() == 0:
            self.record()
        return self.record(self.result(rewards=rewards_root(cumulative), rewards_total=sum(cumulative)))

    def activate_rewards(self, cumulative: Sequence[int]) -> RoundResult:
        """Records such a round, funds the vault, and activates the rewards after the window."""
        result = self.record_rewards(cumulative)
        missing = sum(cumulative) - self.vault.functions.totalFunded().call()
        if missing > 0:
            self.fund(missing)
        self.chain.travel_to(self.chain.now + TERMS.dispute_window_seconds + 1)
        self.chain.send(self.vault.functions.activate(result.as_tuple()))
        return result


def mirrored(signature: bytes) -> bytes:
    """What EIP-2098 leaves of the other signature of the same message by the same key.

    Its s lies above half the curve's order, where the compact form keeps the parity: one bit is lost.
    """
    vs = int.from_bytes(signature[32:SIGNATURE_BYTES], "big")
    parity, s = vs >> 255, CURVE_ORDER - (vs & ~(1 << 255))
    return signature[:32] + (s & ~(1 << 255) | (1 - parity) << 255).to_bytes(32, "big")


def with_flipped_parity(signature: bytes) -> bytes:
    """The same r and s with the other parity: a valid signature by another, unknown key."""
    return signature[:32] + bytes([signature[32] ^ 0x80]) + signature[33:SIGNATURE_BYTES]


def deploy_consortium(
    n: int = 4,
    *,
    terms: VaultTerms = TERMS,
    disputes: DisputeTerms = DISPUTES,
    members: list[Entry] | None = None,
    chain: Chain | None = None,
    spec: bytes = SPEC,
) -> Consortium:
    """The four contracts of n members, on a fresh chain unless one is given."""
    chain = chain or Chain()
    roster = members or entries(n)
    later = [chain.predicted(ahead) for ahead in (1, 2, 3)]
    registry = chain.deploy("MemberRegistry", roster, spec, *later)
    window = terms.dispute_window_seconds
    ledger = chain.deploy("RoundLedger", registry.address, window, disputes.ruling_seconds)
    vault = chain.deploy(
        "RewardVault",
        registry.address,
        ledger.address,
        disputes.asset or ZERO_ADDRESS,
        terms.round_budget_wei,
        terms.participation_ppm,
        disputes.unbonding_after(window),
    )
    return Consortium(
        chain=chain,
        registry=registry,
        ledger=ledger,
        vault=vault,
        disputes=chain.deploy("Disputes", registry.address, disputes.bond_wei),
        accounts=tuple(member.account for member in roster),
        signer_keys=tuple(key_of(f"signer {index}") for index in range(n)),
        results=[],
        spec=spec,
    )
