"""What can go wrong between this process and the chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ledger.words import ether, exact

if TYPE_CHECKING:
    from ledger.deploy import Founding


class LedgerError(Exception):
    """Every failure of the chain, or of what it answers, that is expected in operation."""


class MalformedAddress(LedgerError, ValueError):
    """What should be an address is none."""


class ChainUnavailable(LedgerError):
    """The endpoint cannot be reached, answers too late, or answers what no chain would answer."""


class NoAnswer(ChainUnavailable):
    """The endpoint did not answer, or too late, or said that it cannot now; asked again, it may."""


class AnswerTooLarge(ChainUnavailable):
    """The endpoint's answer is larger than any that was asked for.

    Attributes:
        limit_bytes: where it was cut off.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the endpoint's answer is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class WrongChain(LedgerError):
    """The endpoint serves another chain, or one that cannot run the contracts.

    Attributes:
        expected: chain id that was asked for.
        found: chain id that the endpoint serves.
    """

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"the endpoint serves chain {found}, expected chain {expected}")
        self.expected = expected
        self.found = found


class ChainTooOld(LedgerError):
    """The chain lacks instructions of Cancun, without which the contracts cannot run."""


class NoContract(LedgerError):
    """There is no contract, or another one, at an address.

    Attributes:
        address: where it was looked for.
    """

    def __init__(self, address: str, what: str = "a contract") -> None:
        super().__init__(f"there is no {what.removeprefix('a ')} at {address}")
        self.address = address


class Reverted(LedgerError):
    """A contract refused.

    Attributes:
        name: the Solidity custom error, "Error" for a plain reason, "Panic", or "" where nothing was said.
        values: the error's parameters by name.
        data: the bytes that came back.
    """

    def __init__(self, name: str, values: Mapping[str, object] | None = None, data: bytes = b"") -> None:
        self.name = name
        self.values = dict(values or {})
        self.data = data
        shown = ", ".join(f"{key}={value}" for key, value in self.values.items())
        super().__init__(f"the contract refused: {name or 'no reason given'}" + (f"({shown})" if shown else ""))


class TransactionFailed(LedgerError):
    """The chain would not take a transaction, or never included it.

    Attributes:
        tx: its hash, "" where it has none.
    """

    def __init__(self, reason: str, tx: str = "") -> None:
        super().__init__(reason)
        self.tx = tx


class GasTooExpensive(LedgerError):
    """A unit of gas costs more than this process may offer; nothing was signed.

    Attributes:
        asked_wei: what the endpoint says that it costs.
        allowed_wei: the most that may be offered.
    """

    def __init__(self, asked_wei: int, allowed_wei: int) -> None:
        super().__init__(
            f"the endpoint asks {exact(asked_wei, 9)} gwei for a unit of gas, and at most {exact(allowed_wei, 9)} are "
            "allowed: name another endpoint, wait, or raise ledger.max_gas_price_gwei in mycelia.toml"
        )
        self.asked_wei = asked_wei
        self.allowed_wei = allowed_wei


class BalanceTooLow(LedgerError):
    """The deployer cannot pay for what it is to deploy; nothing was sent.

    Attributes:
        deployer: its address.
        found_wei: what it has.
        vault_wei, signers_wei, gas_wei: what it needs, for the vault, the signers, and its own gas at most.
    """

    def __init__(self, deployer: str, found_wei: int, vault_wei: int, signers_wei: int, gas_wei: int) -> None:
        needed = vault_wei + signers_wei + gas_wei
        super().__init__(
            f"the deployer {deployer} has {ether(found_wei)} ether, and needs {ether(needed)}: "
            f"{ether(vault_wei)} for the vault, {ether(signers_wei)} for the signers' gas, "
            f"and up to {ether(gas_wei)} for its own"
        )
        self.deployer = deployer
        self.found_wei = found_wei
        self.vault_wei = vault_wei
        self.signers_wei = signers_wei
        self.gas_wei = gas_wei


class DeploymentUnfinished(LedgerError):
    """Something failed after the registry was deployed.

    Attributes:
        registry: its address.
        founding: what members need to find their consortium; None where it cannot be used.
    """

    def __init__(
        self, registry: str, failed: str, cause: LedgerError, todo: str, founding: Founding | None = None
    ) -> None:
        super().__init__(f"{failed}: {cause}; the registry is deployed at {registry}: {todo}")
        self.registry = registry
        self.founding = founding


class ResultConflict(LedgerError):
    """The ledger has recorded another result of this round.

    Attributes:
        round_id: the round.
        recorded: what the ledger stores of its struct hash.
        found: the same part of the one that was to be submitted.
    """

    def __init__(self, round_id: int, recorded: bytes, found: bytes) -> None:
        super().__init__(f"round {round_id} is recorded with result {recorded.hex()}, ours is {found.hex()}")
        self.round_id = round_id
        self.recorded = recorded
        self.found = found


class PortTaken(LedgerError):
    """The devchain cannot listen there.

    Attributes:
        host: where it was to listen.
        port: likewise.
    """

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"the devchain cannot listen on {host}:{port}: {reason}")
        self.host = host
        self.port = port


class InvalidRoster(LedgerError):
    """The registry holds what no deployment by this package writes: text or addresses that are none."""


class UnprovenRegistry(LedgerError):
    """What the endpoint shows of the registry is not proven by the signatures that every change needs."""

    def __init__(self, finding: str, first_block: int = 0) -> None:
        looked = f", where only blocks from {first_block} on were looked at (ledger.first_block)" if first_block else ""
        super().__init__(
            f"the endpoint's registry is not proven{looked}: {finding}; nothing of it is believed: name another "
            "endpoint, and run mycelia audit against this one"
        )


class WrongFingerprint(LedgerError):
    """The endpoint shows a consortium with other founders, another task or other contracts.

    Attributes:
        expected, found: fingerprints, 32 bytes.
    """

    def __init__(self, expected: bytes, found: bytes) -> None:
        super().__init__(
            f"the endpoint shows a consortium with the fingerprint 0x{found.hex()}, expected 0x{expected.hex()}: "
            "compare ledger.registry and ledger.fingerprint with the other members', or name another endpoint"
        )
        self.expected = expected
        self.found = found


class ForgedReport(LedgerError):
    """A signed report that its signer did not sign."""


class BooksMismatch(LedgerError):
    """Rewards on the ledger do not follow from its scores.

    Attributes:
        round_id: the first round where they do not.
    """

    def __init__(self, round_id: int) -> None:
        super().__init__(f"the rewards of round {round_id} do not follow from the scores: run mycelia audit")
        self.round_id = round_id
