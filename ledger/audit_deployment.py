"""First part of an audit: are these the contracts, and do they belong together?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger import artifacts
from ledger.deployment import Deployment
from ledger.errors import NoContract
from ledger.findings import Notebook
from ledger.trail import Trail
from ledger.types import VaultTerms, domain_separator

_WINDOWS: Final = ("disputeWindowSeconds", "rulingSeconds")


def audit_deployment(trail: Trail, registry: str, notebook: Notebook) -> Deployment | None:
    """The deployment behind `registry`; None if its code is another, so that nothing it says has a meaning.

    Raises:
        NoContract: there is no code at all at the registry's address.
        ChainUnavailable: the endpoint does not answer as a chain does.
    """
    if not (code := trail.code(registry)):
        raise NoContract(registry, "a MemberRegistry")
    own = _domain_words(trail.chain_id, registry)
    named = _checked_code("MemberRegistry", registry, code, own, notebook)
    if named is None:
        return None
    ledger, vault, disputes = (_address(named[name]) for name in ("ledger", "vault", "disputes"))
    words = {name: _word(address) for name, address in (("registry", registry), ("disputes", disputes))}
    own = words | _domain_words(trail.chain_id, ledger)
    windows = _checked_code("RoundLedger", ledger, trail.code(ledger), own, notebook) or {}
    words |= {"ledger": _word(ledger), "vault": _word(vault)}
    own = words | {name: windows[name] for name in ("disputeWindowSeconds",) if name in windows}
    numbers = _checked_code("RewardVault", vault, trail.code(vault), own, notebook)
    own = words | _domain_words(trail.chain_id, disputes)
    bond = _checked_code("Disputes", disputes, trail.code(disputes), own, notebook) or {}
    if numbers is None:
        return None

    unbonding, shortest = _number(numbers, "unbondingSeconds"), sum(_number(windows, name) for name in _WINDOWS) + 1
    if unbonding < shortest:
        text = f"a stake unbonds in {unbonding} seconds, the vault's constructor accepts {shortest} at least"
        notebook.note("vault.terms", text)

    return Deployment(
        chain_id=trail.chain_id,
        registry=registry,
        ledger=ledger,
        vault=vault,
        terms=_terms(numbers, notebook),
        windows=(_number(windows, _WINDOWS[0]), _number(windows, _WINDOWS[1])),
        disputes=disputes,
        asset=_address(numbers["asset"]),
        unbonding_seconds=unbonding,
        bond_wei=_number(bond, "bondWei"),
    )


def _checked_code(
    name: str, address: str, code: bytes, expected: Mapping[str, bytes], notebook: Notebook
) -> dict[str, bytes] | None:
    """The words of the immutables in `code`, by name; None if it is not the code of `name`."""
    artifact = artifacts.load(name)
    notebook.checked.codes += 1
    if not artifact.is_code(code):
        notebook.note("code.mismatch", f"the code at {address} is not that of {name}")
        return None
    words = {}
    for immutable, found in artifact.immutable_values(code).items():
        if len(found) != 1:
            notebook.note("code.immutable", f"{name} at {address} holds two values of {immutable}")
        words[immutable] = min(found)
        if immutable in expected:
            what = f"{immutable} in the code of {name}"
            notebook.expect("code.immutable", what, expected[immutable], words[immutable])
    return words


def _domain_words(chain_id: int, contract: str) -> dict[str, bytes]:
    """What EIP712's constructor wrote into the contract's code.  Source: OpenZeppelin EIP712.sol, ShortStrings.sol."""

    def short(text: bytes) -> bytes:
        return text.ljust(31, b"\0") + bytes([len(text)])

    return {
        "_cachedThis": _word(contract),
        "_cachedChainId": chain_id.to_bytes(32, "big"),
        "_cachedDomainSeparator": domain_separator(chain_id, contract),
        "_hashedName": keccak(b"Mycelia"),
        "_hashedVersion": keccak(b"1"),
        "_name": short(b"Mycelia"),
        "_version": short(b"1"),
    }


def _terms(words: Mapping[str, bytes], notebook: Notebook) -> VaultTerms:
    numbers = {name: int.from_bytes(word, "big") for name, word in words.items()}
    try:
        return VaultTerms(numbers["roundBudget"], numbers["participationPpm"], numbers["disputeWindowSeconds"])
    except ValueError as error:
        notebook.note("vault.terms", f"the vault's terms are none that its constructor accepts: {error}")
        return VaultTerms(0, 0, 0)


def _number(words: Mapping[str, bytes], name: str) -> int:
    return int.from_bytes(words.get(name, b""), "big")


def _address(word: bytes) -> str:
    return to_checksum_address(word[-20:])


def _word(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])
