"""First part of an audit: are these the contracts, who are the members, and by which rules do they work?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from eth_abi.abi import encode
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger import artifacts
from ledger.errors import NoContract
from ledger.findings import Notebook, shown
from ledger.trail import Event, Trail
from ledger.types import VaultTerms, compute_config_digest, domain_separator

MAX_MEMBERS: Final = 256
MAX_ROSTERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class KnownRoster:
    """What one roster version bound its members to."""

    version: int
    signers: tuple[str, ...]
    quorum: int
    spec_digest: bytes


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the rounds and the vault are held to.

    Attributes:
        chain_id, registry, ledger, vault: where it is.
        terms: what the vault pays, as its code has them.
        windows: seconds in which a round can be challenged, and then ruled on, as the ledger's code has them.
        stake_terms: what the vault pays in, and the seconds that a stake unbonds, as its code has them.
        accounts: address of each member's account, by roster index.
        rosters: by config digest, as computed from the events.
        training_rounds: how many the published spec has; None if it cannot be read.
    """

    chain_id: int
    registry: str
    ledger: str
    vault: str
    terms: VaultTerms
    windows: tuple[int, int]
    stake_terms: tuple[str, int]
    accounts: tuple[str, ...]
    rosters: Mapping[bytes, KnownRoster]
    training_rounds: int | None


@dataclass(slots=True)
class _Registry:
    """The registry's events, replayed."""

    members: list[Mapping[str, Any]] = field(default_factory=list)
    specs: dict[bytes, bytes] = field(default_factory=dict)
    spec_digest: bytes = b""
    rosters: dict[bytes, KnownRoster] = field(default_factory=dict)


def audit_deployment(trail: Trail, registry: str, notebook: Notebook) -> Deployment | None:
    """The deployment behind `registry`; None if its code is another, so that nothing it says has a meaning.

    Raises:
        NoContract: there is no code at all at the registry's address.
        ChainUnavailable: the endpoint does not answer as a chain does.
    """
    if not (code := trail.code(registry)):
        raise NoContract(registry, "a MemberRegistry")
    named = _checked_code("MemberRegistry", registry, code, {}, notebook)
    if named is None:
        return None
    ledger, vault = _address(named["ledger"]), _address(named["vault"])
    words = _ledger_words(trail.chain_id, registry, ledger)
    windows = _checked_code("RoundLedger", ledger, trail.code(ledger), words, notebook) or {}
    own = {"registry": _word(registry), "ledger": _word(ledger)}
    numbers = _checked_code("RewardVault", vault, trail.code(vault), own, notebook)
    if numbers is None:
        return None

    replayed = _replay(trail, registry, notebook)
    _compare_with_storage(trail, registry, replayed, notebook)
    return Deployment(
        chain_id=trail.chain_id,
        registry=registry,
        ledger=ledger,
        vault=vault,
        terms=_terms(numbers, notebook),
        windows=(_number(windows, "disputeWindowSeconds"), _number(windows, "rulingSeconds")),
        stake_terms=(_address(numbers["asset"]), _number(numbers, "unbondingSeconds")),
        accounts=tuple(to_checksum_address(member["account"]) for member in replayed.members),
        rosters=replayed.rosters,
        training_rounds=_training_rounds(replayed.specs.get(replayed.spec_digest, b""), notebook),
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


def _ledger_words(chain_id: int, registry: str, ledger: str) -> dict[str, bytes]:
    """What the ledger's constructor wrote into its code.  Source: OpenZeppelin EIP712.sol, ShortStrings.sol."""

    def short(text: bytes) -> bytes:
        return text.ljust(31, b"\0") + bytes([len(text)])

    return {
        "registry": _word(registry),
        "_cachedThis": _word(ledger),
        "_cachedChainId": chain_id.to_bytes(32, "big"),
        "_cachedDomainSeparator": domain_separator(chain_id, ledger),
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


def _replay(trail: Trail, registry: str, notebook: Notebook) -> _Registry:
    replayed = _Registry()
    for event in trail.events("MemberRegistry", registry):
        if event.name == "MemberAdmitted":
            _admit(replayed, event, notebook)
        elif event.name == "SpecAdopted":
            _adopt_spec(replayed, event, notebook)
        elif event.name == "RosterChanged":
            _change_roster(replayed, event, trail.chain_id, registry, notebook)
        elif not event.name:
            notebook.note("log.unreadable", f"a log of the registry: {shown(event.values.get('reason'))}")
        if len(replayed.members) > MAX_MEMBERS or len(replayed.rosters) > MAX_ROSTERS:
            notebook.note("roster.size", "the registry's events tell of more members than a registry can hold")
            break
    notebook.checked.members = len(replayed.members)
    return replayed


def _admit(replayed: _Registry, event: Event, notebook: Notebook) -> None:
    if notebook.expect(
        "roster.member", "the index of an admitted member", len(replayed.members), event.values["index"]
    ):
        replayed.members.append(event.values)


def _adopt_spec(replayed: _Registry, event: Event, notebook: Notebook) -> None:
    spec = event.values["spec"]
    notebook.expect("spec.digest", "the digest in SpecAdopted", keccak(spec), event.values["specDigest"])
    # Only the newest one is needed: rounds name it through their config digest.
    replayed.spec_digest, replayed.specs = keccak(spec), {keccak(spec): spec}


def _change_roster(replayed: _Registry, event: Event, chain_id: int, registry: str, notebook: Notebook) -> None:
    version = len(replayed.rosters) + 1
    signers = tuple(to_checksum_address(member["signer"]) for member in replayed.members)
    roster = KnownRoster(version, signers, 2 * len(signers) // 3 + 1, replayed.spec_digest)
    found = event.values
    notebook.expect("roster.version", "the roster version", version, found["rosterVersion"])
    notebook.expect("roster.quorum", f"the quorum of roster {version}", roster.quorum, found["quorum"])
    everybody = (1 << len(signers)) - 1
    notebook.expect("roster.active", f"the active members of roster {version}", everybody, found["activeBitmap"])
    digest = compute_config_digest(chain_id, registry, version, signers, roster.quorum, roster.spec_digest)
    notebook.expect("roster.config", f"the config digest of roster {version}", digest, found["configDigest"])
    replayed.rosters[digest] = roster


def _compare_with_storage(trail: Trail, registry: str, replayed: _Registry, notebook: Notebook) -> None:
    def stored(name: str, *args: object) -> Any:
        return trail.view("MemberRegistry", registry, name, *args)

    def expect(name: str, expected: object) -> bool:
        return notebook.expect("roster.storage", f"{name} in the registry's storage", expected, stored(name))

    if not replayed.rosters:
        notebook.note("roster.missing", "the registry's events tell of no roster")
        return
    digest, roster = list(replayed.rosters.items())[-1]
    expect("rosterVersion", roster.version)
    expect("quorum", roster.quorum)
    expect("activeBitmap", (1 << len(roster.signers)) - 1)
    expect("specDigest", roster.spec_digest)
    expect("configDigest", digest)
    if not expect("memberCount", len(replayed.members)):
        return
    for index, member in enumerate(replayed.members):
        fields = tuple(member[name] for name in ("account", "signer", "name", "peerId", "netAddress"))
        notebook.expect("roster.member", f"member {index} in storage", fields, stored("member", index))
    _check_roster_code(trail, registry, roster, stored("rosterCode"), notebook)


def _check_roster_code(trail: Trail, registry: str, roster: KnownRoster, address: str, notebook: Notebook) -> None:
    types = ["uint256", "address", "uint64", "address[]", "uint256", "bytes32"]
    values = [trail.chain_id, registry, roster.version, roster.signers, roster.quorum, roster.spec_digest]
    if trail.code(to_checksum_address(address)) != encode(types, values):
        notebook.note("code.roster", "the signers that the ledger reads are not those of the roster")


def _training_rounds(spec: bytes, notebook: Notebook) -> int | None:
    try:
        rounds = json.loads(spec)["rounds"]
    except (ValueError, TypeError, KeyError, RecursionError):
        rounds = None
    if isinstance(rounds, int) and not isinstance(rounds, bool) and rounds >= 1:
        return rounds
    notebook.note("spec.unreadable", "the published spec names no number of rounds")
    return None


def _number(words: Mapping[str, bytes], name: str) -> int:
    return int.from_bytes(words.get(name, b""), "big")


def _address(word: bytes) -> str:
    return to_checksum_address(word[-20:])


def _word(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])
