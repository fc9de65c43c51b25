"""Second part of an audit: who the members are, by which rules they work, and how that changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth_abi.abi import encode
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger.audit_deployment import Deployment
from ledger.findings import Notebook
from ledger.replay import Replay
from ledger.trail import Event, Trail
from ledger.types import compute_config_digest

MAX_MEMBERS: Final = 256
MAX_ROSTERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class KnownRoster:
    """What one roster version bound its members to.

    Attributes:
        training_rounds: how many the published spec has; None if it cannot be read.
    """

    version: int
    signers: tuple[str, ...]
    quorum: int
    spec_digest: bytes
    training_rounds: int | None


class RegistryAudit(Replay):
    """Replays the registry's events as far as asked: what it knows is what held at that place of the chain.

    Attributes:
        rosters: by config digest, as computed from the events.
    """

    def __init__(self, trail: Trail, deployment: Deployment, notebook: Notebook) -> None:
        checks = {
            "MemberAdmitted": self._on_admitted,
            "SpecAdopted": self._on_spec,
            "RosterChanged": self._on_roster,
        }
        unjudged = {
            "Approved", "Authorised", "MemberLeft", "MemberRemoved", "MemberRotated", "SpecProposed", "SuccessorNamed"
        }  # fmt: skip
        super().__init__(trail, "MemberRegistry", deployment.registry, notebook, checks, unjudged)
        self._chain_id = deployment.chain_id
        self._members: list[Mapping[str, Any]] = []
        self._spec_digest = b""
        self._training_rounds: int | None = None
        self.rosters: dict[bytes, KnownRoster] = {}

    @property
    def accounts(self) -> tuple[str, ...]:
        """Address of each member's account, by roster index."""
        return tuple(to_checksum_address(member["account"]) for member in self._members)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the members, by roster index."""
        return tuple(str(member["name"]) for member in self._members)

    def finish(self) -> None:
        """Replays the rest and compares what comes of it with the registry's storage."""
        self.advance()
        self.notebook.checked.members = len(self._members)
        if not self.rosters:
            self.notebook.note("roster.missing", "the registry's events tell of no roster")
            return
        digest, roster = list(self.rosters.items())[-1]
        self._expect_stored("rosterVersion", roster.version)
        self._expect_stored("quorum", roster.quorum)
        self._expect_stored("activeBitmap", (1 << len(roster.signers)) - 1)
        self._expect_stored("specDigest", roster.spec_digest)
        self._expect_stored("configDigest", digest)
        if not self._expect_stored("memberCount", len(self._members)):
            return
        for index, member in enumerate(self._members):
            fields = tuple(member[name] for name in ("account", "signer", "name", "peerId", "netAddress"))
            self.notebook.expect("roster.member", f"member {index} in storage", fields, self.stored("member", index))
        self._check_roster_code(roster)

    def _on_admitted(self, event: Event) -> None:
        expected = len(self._members)
        if expected == MAX_MEMBERS:
            self._give_up()
        elif self.notebook.expect("roster.member", "the index of an admitted member", expected, event.values["index"]):
            self._members.append(event.values)

    def _on_spec(self, event: Event) -> None:
        spec = event.values["spec"]
        self.notebook.expect("spec.digest", "the digest in SpecAdopted", keccak(spec), event.values["specDigest"])
        self._spec_digest = keccak(spec)
        self._training_rounds = _training_rounds(spec)
        if self._training_rounds is None:
            self.notebook.note("spec.unreadable", "the published spec names no number of rounds")

    def _on_roster(self, event: Event) -> None:
        if len(self.rosters) == MAX_ROSTERS:
            self._give_up()
            return
        version = len(self.rosters) + 1
        signers = tuple(to_checksum_address(member["signer"]) for member in self._members)
        quorum = 2 * len(signers) // 3 + 1
        expect, found = self.notebook.expect, event.values
        expect("roster.version", "the roster version", version, found["rosterVersion"])
        expect("roster.quorum", f"the quorum of roster {version}", quorum, found["quorum"])
        everybody = (1 << len(signers)) - 1
        expect("roster.active", f"the active members of roster {version}", everybody, found["activeBitmap"])
        digest = compute_config_digest(self._chain_id, self.address, version, signers, quorum, self._spec_digest)
        expect("roster.config", f"the config digest of roster {version}", digest, found["configDigest"])
        self.rosters[digest] = KnownRoster(version, signers, quorum, self._spec_digest, self._training_rounds)
        if not self._spec_digest:
            self.notebook.note("spec.unreadable", f"no event tells of the spec of roster {version}")

    def _give_up(self) -> None:
        self.notebook.note("roster.size", "the registry's events tell of more members than a registry can hold")
        self.stop()

    def _expect_stored(self, name: str, expected: object) -> bool:
        what = f"{name} in the registry's storage"
        return self.notebook.expect("roster.storage", what, expected, self.stored(name))

    def _check_roster_code(self, roster: KnownRoster) -> None:
        types = ["uint256", "address", "uint64", "address[]", "uint256", "bytes32"]
        values = [self._chain_id, self.address, roster.version, roster.signers, roster.quorum, roster.spec_digest]
        if self.trail.code(to_checksum_address(self.stored("rosterCode"))) != encode(types, values):
            self.notebook.note("code.roster", "the signers that the ledger reads are not those of the roster")


def _training_rounds(spec: bytes) -> int | None:
    try:
        rounds = json.loads(spec)["rounds"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    is_number = isinstance(rounds, int) and not isinstance(rounds, bool) and rounds >= 1
    return rounds if is_number else None
