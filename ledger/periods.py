"""The registry's rosters in their order, and how many rounds each of them found recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger.connection import Connection, translated
from ledger.errors import ChainUnavailable
from ledger.logs import decoded
from ledger.types import ZERO_ADDRESS

ROSTER_TOPIC: Final = keccak(b"RosterChanged(uint64,bytes32,uint256,uint256)")
SPEC_TOPIC: Final = keccak(b"SpecAdopted(bytes32,bytes)")
ROSTER_ABI: Final = ("uint256", "address", "uint64", "address[]", "uint256", "bytes32")
"""What a roster's code holds: chain id, registry, version, signers, quorum, spec digest."""


MIN_MEMBERS: Final = 3
MAX_MEMBERS: Final = 64
MAX_INDICES: Final = 256
"""As MemberRegistry.sol bounds them."""


@dataclass(frozen=True, slots=True)
class Period:
    """One version of roster and spec.

    Attributes:
        version: counts from 1.
        config: its digest, which everything that its members sign names.
        signers: address by roster index, the zero address where a member is gone.
        spec: the task, canonical JSON.
        recorded: rounds that the ledger held before the block that brought it.
        block: number of that block.
    """

    version: int
    config: bytes
    signers: tuple[str, ...]
    spec: bytes
    recorded: int
    block: int


class Periods:
    """Reads them, each once: what a final block holds does not change.

    Args:
        registry, ledger: web3's objects for the two contracts.
        first_block: no event of the deployment is older.
    """

    def __init__(self, connection: Connection, registry: Any, ledger: Any, first_block: int) -> None:
        self._connection = connection
        self._registry = registry
        self._ledger = ledger
        self._first_block = self._next_block = first_block
        self._found: tuple[Period, ...] = ()
        self._specs: dict[bytes, bytes] = {}

    def until(self, block: int) -> tuple[Period, ...]:
        """Those up to a final block, oldest first.

        Raises:
            ChainUnavailable: what the endpoint shows cannot be a registry's.
        """
        try:
            self._read_until(block)
        except ChainUnavailable:
            self.forget()
            raise
        return self._found

    def forget(self) -> None:
        """Read all of it again at the next look: a reorganisation may have undone it, or it was never true."""
        self._found, self._next_block = (), self._first_block

    def _read_until(self, block: int) -> None:
        if block >= self._next_block:
            for log in self._connection.logs(self._registry.address, SPEC_TOPIC, self._next_block, block):
                digest, spec = decoded(("bytes32", "bytes"), bytes(log["data"]))
                if keccak(spec) == digest:
                    self._specs[digest] = bytes(spec)
            logs = list(self._connection.logs(self._registry.address, ROSTER_TOPIC, self._next_block, block))
            self._found += tuple(self._read(log, len(self._found) + place) for place, log in enumerate(logs, 1))
            self._next_block = block + 1

    def _read(self, log: Any, version: int) -> Period:
        config, _, _ = decoded(("bytes32", "uint256", "uint256"), bytes(log["data"]))
        address, found = self._connection.call(self._registry.functions.rosterOf(config))
        with translated():
            code = bytes(self._connection.w3.eth.get_code(address))
        # The code is what its digest binds, so that nobody needs to be believed about the roster.
        if keccak(code) != config or found != version:
            raise ChainUnavailable(f"the endpoint shows roster {found} where version {version} of the registry is due")
        _, _, _, signers, _, spec = decoded(ROSTER_ABI, code)
        count = sum(signer != ZERO_ADDRESS for signer in signers)
        if not MIN_MEMBERS <= count <= MAX_MEMBERS or len(signers) > MAX_INDICES:
            raise ChainUnavailable(
                f"the endpoint shows {count} members of {len(signers)} in roster {version}: no roster"
            )
        if spec not in self._specs:
            raise ChainUnavailable(f"the endpoint has no event with the spec that roster {version} names")
        block = int(log["blockNumber"])
        names = tuple(to_checksum_address(signer) for signer in signers)
        recorded = self._recorded_before(block) if version > 1 else 0
        return Period(version, bytes(config), names, self._specs[spec], recorded, block)

    def _recorded_before(self, block: int) -> int:
        """Rounds that were recorded before a block; the times of their records ascend."""
        time = self._connection.block_timestamp(block)
        low, high = 0, int(self._connection.call(self._ledger.functions.nextRound()))
        while low < high:
            middle = (low + high) // 2
            if int(self._connection.call(self._ledger.functions.recordedAt(middle))) < time:
                low = middle + 1
            else:
                high = middle
        return low
