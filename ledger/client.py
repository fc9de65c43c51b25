"""The deployment of one consortium, read and written through one endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger.asset import Asset, fetch_asset
from ledger.connection import Connection, Key
from ledger.cursor import START, Position, Step, advance
from ledger.errors import (
    ChainUnavailable,
    InvalidRoster,
    NoContract,
    ResultConflict,
    Reverted,
    TransactionFailed,
    UnprovenRegistry,
    WrongFingerprint,
)
from ledger.finality import INSTANT, Finality
from ledger.logs import decoded
from ledger.model_state import Entry
from ledger.periods import ROSTER_ABI, SPEC_TOPIC, Period, Periods
from ledger.recorded import RECORDED_TOPIC, RecordSource, read_record
from ledger.revenue import VaultRevenue
from ledger.rewards import pack_scores
from ledger.types import MAX_GAS_PRICE_WEI, Roster, RoundRecord, RoundResult, RoundState, VaultTerms
from ledger.verified_registry import VerifiedRegistry, member_of, verify_registry

CALL_GAS: Final = 250_000
"""More than twice what `fund`, `activate` and `claim` with a proof for 64 members were measured to take."""

SUBMIT_GAS: Final = 150_000
SIGNATURE_GAS: Final = 12_000
SCORE_GAS: Final = 1_500
"""`submitRound` was measured below 60k + 8.2k a signature + 0.6k a member; a third more is allowed for."""


class LedgerClient:
    """Registry, ledger and vault of one deployment; blocking, for use from worker threads.

    Args:
        rpc_url: JSON-RPC endpoint over HTTP.
        registry: address of the MemberRegistry, from which everything else is found.
        expect_chain_id: chain id that the endpoint has to serve, if known.
        first_block: no event of the deployment is older; spares long chains the search.
        finality: which blocks count as final.
        fingerprint: of the consortium, if known; else the first one that is seen is expected from then on.
        max_gas_price_wei: the most that a transaction may offer for a unit of gas.

    Attributes:
        revenue: what others pay to the vault for the model.

    Raises:
        ChainUnavailable: the endpoint does not answer as a chain does.
        WrongChain: it serves another chain.
        NoContract: one of the three contracts is not there.
    """

    def __init__(
        self,
        rpc_url: str,
        registry: str,
        *,
        expect_chain_id: int | None = None,
        first_block: int = 0,
        finality: Finality = INSTANT,
        fingerprint: bytes = b"",
        max_gas_price_wei: int = MAX_GAS_PRICE_WEI,
    ) -> None:
        self._connection = Connection(rpc_url, expect_chain_id, max_gas_price_wei)
        self._registry = self._connection.contract("MemberRegistry", registry)
        self._ledger = self._named_contract("RoundLedger", self._read(self._registry, "ledger"))
        self._vault = self._named_contract("RewardVault", self._read(self._registry, "vault"))
        self._first_block = first_block
        self._finality = finality
        self._periods = Periods(self._connection, self._registry, self._ledger, first_block)
        self._fingerprint = fingerprint
        self._configs: tuple[bytes, ...] = ()  # of the rosters that were proven, oldest first
        self.revenue = VaultRevenue(self._connection, self._vault, first_block)
        self._round_seen = (0, first_block)  # a round, and the block that recorded it
        self._signers: dict[bytes, tuple[str, ...]] = {}  # by config digest, which binds them

    @property
    def chain_id(self) -> int:
        """EIP-155 id of the chain that the endpoint serves."""
        return self._connection.chain_id

    @property
    def addresses(self) -> tuple[str, str, str]:
        """Of registry, ledger and vault."""
        return self._registry.address, self._ledger.address, self._vault.address

    @property
    def deployment(self) -> str:
        """Which deployment on which chain this is, in words that no other one has: chain ids and addresses recur."""
        return f"{self._registry.address} on chain {self.chain_id}, genesis {self._connection.genesis()[:8].hex()}"

    def roster_version(self) -> int:
        """Counts the changes of roster and spec: who has seen this one need not read the roster again."""
        return int(self._read(self._registry, "rosterVersion"))

    def roster(self) -> Roster:
        """The members and the rules by which they work.

        Raises:
            InvalidRoster: the registry holds what cannot be a roster.
        """
        count = int(self._read(self._registry, "memberCount"))
        entries = [self._read(self._registry, "member", index) for index in range(count)]
        config = bytes(self._read(self._registry, "configDigest"))
        try:
            return Roster(
                version=self.roster_version(),
                config_digest=config,
                quorum=int(self._read(self._registry, "quorum")),
                members=tuple(member_of(index, Entry(*entry)) for index, entry in enumerate(entries)),
                spec=self._spec(),
                registry=self._registry.address,
                ledger=self._ledger.address,
                vault=self._vault.address,
                chain_id=self.chain_id,
                active=int(self._read(self._registry, "activeBitmap")),
            )
        except ValueError as error:
            raise InvalidRoster(f"the registry's roster cannot be used: {error}") from error

    def verified(self) -> VerifiedRegistry:
        """The registry as signatures prove it, for whom it is not enough that the endpoint says so.

        Raises:
            UnprovenRegistry: they do not.
            WrongFingerprint: it is another consortium's.
        """
        found = verify_registry(self._connection, self._registry.address, self._first_block)
        if self._fingerprint and found.fingerprint != self._fingerprint:
            raise WrongFingerprint(self._fingerprint, found.fingerprint)
        if (found.roster.ledger, found.roster.vault) != self.addresses[1:]:
            raise UnprovenRegistry("it answers with another ledger or vault than the registry's code names")
        self._fingerprint, self._configs = found.fingerprint, found.configs
        return found

    def periods(self) -> tuple[Period, ...]:
        """Every version of roster and spec up to the newest final block, oldest first, each of them proven.

        Raises:
            UnprovenRegistry: a roster is not.
            WrongFingerprint: the registry is another consortium's.
        """
        found = self._periods.until(self._connection.block_number(self._finality))
        configs = tuple(period.config for period in found)
        if self._configs[: len(configs)] != configs and self.verified().configs[: len(configs)] != configs:
            self._periods.forget()
            raise UnprovenRegistry("its events tell of other rosters each time that they are asked for")
        return found

    def signers_of(self, config: bytes) -> tuple[str, ...]:
        """The signers of the roster with this config digest, by roster index, the zero address where a member is gone.

        Raises:
            ChainUnavailable: there was no such roster, or the endpoint shows another one.
        """
        if config not in self._signers:
            code, _ = self._read(self._registry, "rosterOf", config)
            answer = self._connection.request("eth_getCode", [code, "latest"])
            try:
                encoded = bytes.fromhex(answer.removeprefix("0x"))
                signers = decode(list(ROSTER_ABI), encoded)[3]
            except (AttributeError, ValueError, DecodingError) as error:
                raise ChainUnavailable(f"the endpoint's answer to eth_getCode cannot be read: {error}") from error
            if keccak(encoded) != config:
                raise ChainUnavailable("the endpoint shows no roster with the config digest that a round names")
            self._signers[config] = tuple(to_checksum_address(signer) for signer in signers)
        return self._signers[config]

    def terms(self) -> VaultTerms:
        """What the vault pays."""
        return VaultTerms(
            round_budget_wei=int(self._read(self._vault, "roundBudget")),
            participation_ppm=int(self._read(self._vault, "participationPpm")),
            dispute_window_seconds=int(self._read(self._vault, "disputeWindowSeconds")),
        )

    def asset(self) -> Asset:
        """In what the vault pays."""
        return fetch_asset(self._connection, self._vault)

    def next_round(self) -> int:
        """The round that is to be recorded next."""
        return int(self._read(self._ledger, "nextRound"))

    def final_round(self) -> int:
        """The round after the newest one whose record is final."""
        return self._at_final_block(self._ledger.functions.nextRound(), "uint64") or 0

    def result_digest(self, round_id: int) -> bytes:
        """What the ledger keeps of the struct hash of the recorded result, 27 bytes; zeros while there is none."""
        return bytes(self._read(self._ledger, "resultDigest", round_id))

    def recorded_at(self, round_id: int) -> int:
        """Time of the block that recorded the round, seconds since 1970; 0 while there is none."""
        return int(self._read(self._ledger, "recordedAt", round_id))

    def round_state(self, round_id: int) -> RoundState:
        """What has become of the round, at the time of the newest block."""
        return RoundState(self._read(self._ledger, "stateOf", round_id))

    def final_at(self, round_id: int) -> int:
        """When the round can be challenged and ruled on no more, seconds since 1970; 0 while it is not recorded."""
        return int(self._read(self._ledger, "finalAt", round_id))

    def first_waiting(self) -> int:
        """The first round that can still be challenged or ruled on; the next one if none can."""
        now, low, high = self.block_timestamp(), 0, self.next_round()
        while low < high:  # these times ascend, so that few have to be asked for
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.final_at(middle) <= now else (low, middle)
        return low

    def payable_round(self) -> int | None:
        """The newest round whose rewards can be made active, or are; None if there is none."""
        for round_id in range(self.first_waiting() - 1, -1, -1):
            if self.round_state(round_id).is_over:
                return round_id
        return None

    def active_round(self) -> int:
        """Round whose rewards can be claimed; 0 while none was activated: round 0 pays nothing."""
        return int(self._read(self._vault, "activeRound"))

    def active_root(self) -> bytes:
        """Root of the rewards that can be claimed; `EMPTY` while there is none."""
        return bytes(self._read(self._vault, "activeRoot"))

    def records(self, from_round: int = 0) -> Iterator[RoundRecord]:
        """The recorded rounds from this one on, in their order.

        Raises:
            ChainUnavailable: an event cannot be read, or belongs to a result that it does not contain.
        """
        seen, block = self._round_seen
        start = block if seen <= from_round else self._first_block
        for log in self._connection.logs(self._ledger.address, RECORDED_TOPIC, start):
            record = read_record(log)
            if record.result.round < from_round:
                continue
            self._round_seen = (record.result.round, record.block)
            yield record

    def is_recorded(self, result: RoundResult) -> bool:
        """Whether the ledger has recorded this very result.

        Raises:
            ResultConflict: it has recorded another one of this round.
        """
        recorded = self.result_digest(result.round)
        if any(recorded) and recorded != result.stored_digest():
            raise ResultConflict(result.round, recorded, result.stored_digest())
        return any(recorded)

    def submit(
        self, key: Key, result: RoundResult, scores: Sequence[int] | None, signers: int, signatures: bytes
    ) -> str | None:
        """Hash of the transaction that recorded `result`; None if this very result was recorded already.

        Raises:
            ResultConflict: the ledger has another result of this round.
            Reverted: the ledger refuses it.
            TransactionFailed: the endpoint does not take it, or nobody includes it in time.
        """
        if self.is_recorded(result):
            return None
        packed = b"" if scores is None else pack_scores(scores)
        gas = SUBMIT_GAS + SIGNATURE_GAS * signers.bit_count() + SCORE_GAS * (len(packed) // 8)
        call = self._ledger.functions.submitRound(result.as_tuple(), packed, signers, signatures)
        try:
            return self._send(key, call, gas)
        except (Reverted, TransactionFailed):
            # Any member may have been faster, between our look and our transaction.
            if self.is_recorded(result):
                return None
            raise

    def fund(self, key: Key, wei: int) -> str:
        """Hash of the transaction that adds `wei` to the vault's pool; of a token, if its owner has allowed that."""
        return self._send(key, self._vault.functions.fund(wei), CALL_GAS, self.asset().coins_wei(wei))

    def activate(self, key: Key, result: RoundResult) -> str:
        """Hash of the transaction that makes the rewards of a recorded `result` claimable.

        Raises:
            Reverted: among others `DisputeWindowOpen`, `RoundNotNewer`, `TotalExceedsFunds`.
        """
        return self._send(key, self._vault.functions.activate(result.as_tuple()), CALL_GAS)

    def claim(self, key: Key, index: int, cumulative: int, proof: Sequence[bytes]) -> str:
        """Hash of the transaction that pays the member `index` what it has earned and not yet got.

        Args:
            key: of whoever sends it; the registry's account is paid.
            cumulative: wei that the member earned in all, as in the active root.

        Raises:
            Reverted: among others `InvalidProof`, `NothingToClaim`.
        """
        return self._send(key, self._vault.functions.claim(index, cumulative, list(proof)), CALL_GAS)

    def claimed_wei(self, index: int) -> int:
        """Wei that were paid to the member `index`."""
        return int(self._read(self._vault, "claimedWei", index))

    def funded_wei(self) -> int:
        """Wei that the vault was ever funded with."""
        return int(self._read(self._vault, "totalFunded"))

    def balance_wei(self, address: str) -> int:
        """Wei at `address`."""
        return self._connection.balance_wei(address)

    def block_timestamp(self) -> int:
        """Time of the newest block, seconds since 1970."""
        return self._connection.block_timestamp()

    def increase_time(self, seconds: int) -> None:
        """Moves the clock of a development chain forward and mines a block.

        Raises:
            TransactionFailed: the chain is no development chain.
        """
        self._connection.request("evm_increaseTime", [hex(seconds)])
        self._connection.request("evm_mine", [])

    def follow(self, position: Position = START) -> Step[RoundRecord]:
        """The rounds recorded since `position`, and from which block on what was read before holds no more.

        To be called again with the new position, at most some thousand blocks at a time, until it has caught up.

        Raises:
            ChainUnavailable: an event cannot be read, or the chain changes faster than it can be read.
        """
        source = RecordSource(self._connection, self._ledger.address, self._first_block)
        return advance(position, source, self._connection.block_number())

    def _at_final_block(self, call: Any, kind: str) -> Any:
        """What the view returned after the newest final block; None if the contract was not there yet."""
        if self._finality == INSTANT:
            return self._connection.call(call)
        block = self._connection.block_number(self._finality)
        if block < 0:
            return None
        answer = self._connection.request("eth_call", [{"to": call.address, "data": _data_of(call)}, hex(block)])
        try:
            found = bytes.fromhex(answer.removeprefix("0x"))
            return decode([kind], found)[0] if found else None
        except (AttributeError, ValueError, DecodingError) as error:
            raise ChainUnavailable(f"the endpoint's answer to a view cannot be read: {error}") from error

    def _spec(self) -> bytes:
        wanted = bytes(self._read(self._registry, "specDigest"))
        for log in self._connection.logs(self._registry.address, SPEC_TOPIC, self._first_block):
            digest, spec = decoded(["bytes32", "bytes"], bytes(log["data"]))
            if digest == wanted and keccak(spec) == wanted:
                return bytes(spec)
        looked = f" from block {self._first_block} on (ledger.first_block)" if self._first_block else ""
        raise ChainUnavailable(f"the endpoint has no event with the spec that the registry names{looked}")

    def _named_contract(self, name: str, address: str) -> Any:
        contract = self._connection.contract(name, address)
        if self._read(contract, "registry") != self._registry.address:
            raise NoContract(address, f"a {name} of this registry")
        return contract

    def _read(self, contract: Any, view: str, *args: object) -> Any:
        return self._connection.call(contract.functions[view](*args))

    def _send(self, key: Key, call: Any, gas: int, wei: int = 0) -> str:
        tx, _ = self._connection.send(key, {"to": call.address, "value": wei, "data": _data_of(call)}, gas)
        return tx


def _data_of(call: Any) -> str:
    return str(call._encode_transaction_data())
