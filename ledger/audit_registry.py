"""Second part of an audit: who the members are, by which rules they work, who allowed each change of it, and when."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from eth_abi.abi import encode
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from ledger.approvals import Admission, Approval, Exit, Removal, Rotation, SpecChange, Succession
from ledger.deployment import Deployment
from ledger.findings import Notebook
from ledger.fingerprint import compute_fingerprint
from ledger.model_registry import (
    MAX_INDICES,
    MAX_NAME_BYTES,
    MAX_NET_ADDRESS_BYTES,
    MAX_PEER_ID_BYTES,
    MIN_MEMBERS,
    ROTATION_PERIOD_SECONDS,
    SPEC_DELAY_SECONDS,
)
from ledger.model_registry import MAX_MEMBERS as MAX_ACTIVE
from ledger.model_state import Entry, is_signed_by
from ledger.replay import Replay
from ledger.rosters import KnownRoster, count_signatures
from ledger.standing import Change
from ledger.trail import Event, Trail
from ledger.types import EMPTY, ZERO_ADDRESS, compute_config_digest

MAX_MEMBERS: Final = MAX_INDICES
MAX_ROSTERS: Final = 10_000


class RegistryAudit(Replay):
    """Replays the registry's events as far as asked: what it knows is what held at that place of the chain.

    Every change has to be allowed by the event before it, of the same transaction, and to be followed by the roster
    that it makes.

    Attributes:
        rosters: by config digest, as computed from the events.
        members: by roster index, also those who are gone.
        spec: the newest specification.
        fingerprint: of the consortium; empty before the first roster.
    """

    def __init__(self, trail: Trail, deployment: Deployment, notebook: Notebook) -> None:
        checks = {
            "Approved": self._on_allowed,
            "Authorised": self._on_allowed,
            "MemberAdmitted": self._on_admitted,
            "MemberRemoved": self._on_removed,
            "MemberLeft": self._on_left,
            "MemberRotated": self._on_rotated,
            "SpecProposed": self._on_proposed,
            "SpecAdopted": self._on_spec,
            "SuccessorNamed": self._on_successor,
            "RosterChanged": self._on_roster,
        }
        super().__init__(trail, "MemberRegistry", deployment.registry, notebook, checks)
        self._chain_id = deployment.chain_id
        self._deployment = deployment
        self.members: list[Entry] = []
        self._active = 0
        self._rotated_at: dict[int, int] = {}
        self._allowance: Event | None = None
        self._changes = ""  # the transaction whose change waits for its roster
        self._change = ""  # what it changes, in words
        self._spec_digest = b""
        self.spec = b""
        self.fingerprint = b""
        self._training_rounds: int | None = None
        self._proposed = EMPTY
        self._adoptable_at = 0
        self._proposals = 0
        self._successor = ZERO_ADDRESS
        self.rosters: dict[bytes, KnownRoster] = {}

    @property
    def accounts(self) -> tuple[str, ...]:
        """Address of each member's account, by roster index."""
        return tuple(member.account for member in self.members)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the members, by roster index."""
        return tuple(member.name for member in self.members)

    @property
    def signers(self) -> tuple[str, ...]:
        """Address of each member's signer, by roster index, also of those who are gone."""
        return tuple(member.signer for member in self.members)

    @property
    def successor(self) -> str | None:
        """The contract that the last ruling of its kind named; None if there was none."""
        return None if self._successor == ZERO_ADDRESS else self._successor

    @property
    def changes(self) -> list[Change]:
        """What made each roster, oldest first."""
        return [
            Change(roster.version, roster.place[0], roster.change, roster.quorum, roster.active.bit_count())
            for roster in self.rosters.values()
        ]

    def is_active(self, index: int) -> bool:
        """Whether the member with this index is on the newest roster."""
        return index < len(self.members) and bool(self._active >> index & 1)

    def roster_of(self, config: bytes, place: tuple[int, int]) -> KnownRoster | None:
        """The roster with this config digest; None if there was none yet at this place of the chain."""
        self.advance(place)
        roster = self.rosters.get(config)
        return None if roster is None or roster.place >= place else roster

    def newest_config(self, place: tuple[int, int]) -> bytes:
        """Config digest of the newest roster at this place of the chain; `EMPTY` before the first."""
        self.advance(place)
        known = (config for config, roster in reversed(self.rosters.items()) if roster.place < place)
        return next(known, EMPTY)

    def finish(self) -> None:
        """Replays the rest and compares what comes of it with the registry's storage."""
        self.advance()
        self._close("the last change")
        if self._allowance is not None:
            self._note_unused()
        self.notebook.checked.members = len(self.members)
        if not self.rosters:
            self.notebook.note("roster.missing", "the registry's events tell of no roster")
            return
        digest, roster = list(self.rosters.items())[-1]
        expected = {
            "rosterVersion": roster.version,
            "quorum": roster.quorum,
            "activeBitmap": roster.active,
            "specDigest": roster.spec_digest,
            "configDigest": digest,
            "proposedSpec": self._proposed,
            "adoptableAt": self._adoptable_at,
            "specProposals": self._proposals,
        }
        for name, value in expected.items():
            self._expect_stored(name, value)
        found = to_checksum_address(self.stored("successor"))
        self.notebook.expect("roster.storage", "successor in the registry's storage", self._successor, found)
        if self._expect_stored("memberCount", len(self.members)):
            self._compare_members()
        self._check_roster_code(roster)

    def _compare_members(self) -> None:
        for index, member in enumerate(self.members):
            account, signer, *rest = self.stored("member", index)
            found = Entry(to_checksum_address(account), to_checksum_address(signer), *rest)
            self.notebook.expect("roster.member", f"member {index} in storage", member, found)
            rotated, what = self.stored("rotatedAt", index), f"when member {index} rotated its keys, in storage,"
            self.notebook.expect("roster.rotation", what, self._rotated_at.get(index, 0), rotated)

    # Who allowed it.

    def _on_allowed(self, event: Event) -> None:
        if self._allowance is not None:
            self._note_unused()
        self._allowance = event

    def _note_unused(self) -> None:
        self.notebook.note("roster.approval", "something was approved that no event says was done")
        self._allowance = None

    def _check_approval(self, event: Event, what: str, build: Callable[[bytes], Approval]) -> None:
        given, roster = self._given(event, "Approved", what, build)
        if given is None or roster is None:
            return
        digest = build(given.values["config"]).signing_digest(self._chain_id, self.address)
        signers, signatures = given.values["signers"], given.values["signatures"]
        count_signatures(self.notebook, "roster.approval", what, digest, signers, signatures, roster)

    def _check_account(self, event: Event, what: str, index: int, build: Callable[[bytes], Approval]) -> None:
        given, _ = self._given(event, "Authorised", what, build)
        if given is None or index >= len(self.members):
            return
        self.notebook.expect("roster.approval", f"who allowed {what}", index, given.values["index"])
        signature = given.values["signature"]
        digest = build(given.values["config"]).signing_digest(self._chain_id, self.address)
        if is_signed_by(self.accounts[index], digest, signature):
            self.notebook.checked.approvals += 1
        else:
            self.notebook.note("roster.approval", f"the account of member {index} did not sign {what}")

    def _given(
        self, event: Event, kind: str, what: str, build: Callable[[bytes], Approval]
    ) -> tuple[Event | None, KnownRoster | None]:
        given, self._allowance = self._allowance, None
        if not self.rosters:
            # The constructor changes nothing, and nobody was there who could have signed.
            self.notebook.note("roster.approval", f"{what} comes before there was any roster")
            return None, None
        if given is None or given.name != kind or given.tx != event.tx:
            self.notebook.note("roster.approval", f"no event tells who allowed {what}")
            return None, None
        config, roster = next(reversed(self.rosters.items()), (EMPTY, None))
        expect, values = self.notebook.expect, given.values
        expect("roster.approval", f"the config digest under which was allowed {what}", config, values["config"])
        told = values["approved" if kind == "Approved" else "authorised"]
        expect("roster.approval", f"the digest of {what}", build(values["config"]).struct_hash(), told)
        return given, roster

    # What was done.

    def _on_admitted(self, event: Event) -> None:
        index, values = len(self.members), event.values
        entry = Entry(
            account=to_checksum_address(values["account"]),
            signer=to_checksum_address(values["signer"]),
            name=values["name"],
            peer_id=values["peerId"],
            net_address=values["netAddress"],
        )
        if index == MAX_MEMBERS:
            self._give_up()
            return
        if not self._is_short(entry):
            return
        if self.rosters:
            fields = (entry.account, entry.signer, entry.name, entry.peer_id, entry.net_address)
            what = f"the admission of member {index}"
            self._check_approval(event, what, lambda config: Admission(config, *fields))
            self._begin(event, f"admitted {entry.name}")
        if self.notebook.expect("roster.member", "the index of an admitted member", index, values["index"]):
            self.members.append(entry)
            self._active |= 1 << index

    def _on_removed(self, event: Event) -> None:
        index, evidence = event.values["index"], event.values["evidence"]
        what = f"the removal of member {index}"
        self._check_approval(event, what, lambda config: Removal(config, index, evidence))
        self._end_membership(event, index, f"removed {self._name(index)}")

    def _on_left(self, event: Event) -> None:
        index = event.values["index"]
        self._check_account(event, f"the exit of member {index}", index, lambda config: Exit(config, index))
        self._end_membership(event, index, f"{self._name(index)} left")

    def _end_membership(self, event: Event, index: int, what: str) -> None:
        self._begin(event, what)
        if self._is_known(index):
            self._active &= ~(1 << index)

    def _on_rotated(self, event: Event) -> None:
        index, values = event.values["index"], event.values
        account, signer = to_checksum_address(values["account"]), to_checksum_address(values["signer"])
        fields = (account, signer, values["peerId"], values["netAddress"])
        what = f"the rotation of member {index}"
        self._check_account(event, what, index, lambda config: Rotation(config, index, *fields))
        self._begin(event, f"{self._name(index)} changed its keys")
        if not self._is_known(index):
            return
        now = event.time
        if now < self._rotated_at.get(index, 0) + ROTATION_PERIOD_SECONDS:
            self.notebook.note("roster.rotation", f"member {index} rotated its keys twice within a day")
        self._rotated_at[index] = now
        entry = replace(
            self.members[index],
            account=account,
            signer=signer,
            peer_id=values["peerId"],
            net_address=values["netAddress"],
        )
        if self._is_short(entry):
            self.members[index] = entry

    def _on_proposed(self, event: Event) -> None:
        number, digest, until, spec = (event.values[key] for key in ("number", "specDigest", "adoptableAt", "spec"))
        self._check_approval(event, "a specification", lambda config: SpecChange(config, number, digest))
        expect = self.notebook.expect
        expect("spec.digest", "the digest in SpecProposed", keccak(spec), digest)
        expect("spec.delay", "the number of the proposed specification", self._proposals, number)
        earliest = event.time + SPEC_DELAY_SECONDS
        expect("spec.delay", "from when on the specification may be adopted", earliest, until)
        self._proposals += 1
        self._proposed, self._adoptable_at = digest, until

    def _on_spec(self, event: Event) -> None:
        spec = event.values["spec"]
        self.notebook.expect("spec.digest", "the digest in SpecAdopted", keccak(spec), event.values["specDigest"])
        if self.rosters:
            self._check_delay(event)
            self._begin(event, "adopted another specification")
        self.spec, self._spec_digest = bytes(spec), keccak(spec)
        self._training_rounds = _training_rounds(spec)
        if self._training_rounds is None:
            self.notebook.note("spec.unreadable", "the published spec names no number of rounds")

    def _check_delay(self, event: Event) -> None:
        proposed, self._proposed = self._proposed, EMPTY
        if proposed != event.values["specDigest"]:
            self.notebook.note("spec.delay", "a specification was adopted that was not the last one proposed")
        elif event.time < self._adoptable_at:
            self.notebook.note("spec.delay", "a specification was adopted before its delay was over")

    def _on_successor(self, event: Event) -> None:
        successor = to_checksum_address(event.values["successor"])
        self._check_approval(event, "the successor", lambda config: Succession(config, successor))
        self._successor = successor

    # What came of it.

    def _begin(self, event: Event, change: str) -> None:
        self._close("a change")
        self._changes, self._change = event.tx, change

    def _close(self, what: str) -> None:
        if self._changes:
            self.notebook.note("roster.change", f"no event tells of the roster after {what}")
        self._changes = ""

    def _on_roster(self, event: Event) -> None:
        if self._allowance is not None:
            self._note_unused()
        if len(self.rosters) == MAX_ROSTERS:
            self._give_up()
            return
        if self.rosters and self._changes != event.tx:
            self.notebook.note("roster.change", "a roster changed, and no event of the same transaction tells why")
        change = self._change if self._changes else "no event tells what"
        self._changes = ""
        version = len(self.rosters) + 1
        count = self._active.bit_count()
        if not MIN_MEMBERS <= count <= MAX_ACTIVE:
            self.notebook.note("roster.size", f"roster {version} has {count} active members")
        signers = tuple(
            member.signer if self.is_active(index) else ZERO_ADDRESS for index, member in enumerate(self.members)
        )
        self._check_entries(version)
        quorum = 2 * count // 3 + 1
        expect, found = self.notebook.expect, event.values
        expect("roster.version", "the roster version", version, found["rosterVersion"])
        expect("roster.quorum", f"the quorum of roster {version}", quorum, found["quorum"])
        expect("roster.active", f"the active members of roster {version}", self._active, found["activeBitmap"])
        digest = compute_config_digest(self._chain_id, self.address, version, signers, quorum, self._spec_digest)
        expect("roster.config", f"the config digest of roster {version}", digest, found["configDigest"])
        if version == 1:
            change = "founded by " + ", ".join(self.names)
            self.fingerprint = compute_fingerprint(self._deployment, self.members, self._spec_digest)
        self.rosters[digest] = KnownRoster(
            version=version,
            signers=signers,
            quorum=quorum,
            active=self._active,
            spec_digest=self._spec_digest,
            training_rounds=self._training_rounds,
            place=event.place,
            change=change,
        )
        if not self._spec_digest:
            self.notebook.note("spec.unreadable", f"no event tells of the spec of roster {version}")

    def _check_entries(self, version: int) -> None:
        active = [member for index, member in enumerate(self.members) if self.is_active(index)]
        for name in ("account", "signer", "name", "peer_id"):
            values = [getattr(member, name) for member in active]
            if len(set(values)) < len(values) or not all(values) or ZERO_ADDRESS in values:
                self.notebook.note("roster.member", f"two members of roster {version} have one {name}, or one has none")

    def _name(self, index: int) -> str:
        return self.members[index].name if index < len(self.members) else f"member {index}"

    def _is_known(self, index: int) -> bool:
        known = self.is_active(index)
        if not known:
            self.notebook.note("roster.member", f"an event changes member {index}, which is not on the roster")
        return known

    def _is_short(self, entry: Entry) -> bool:
        """Whether a registry holds so long an entry; an endpoint could fill the memory with 256 long ones."""
        texts = (entry.name.encode(), MAX_NAME_BYTES), (entry.peer_id, MAX_PEER_ID_BYTES)
        sizes = (*texts, (entry.net_address.encode(), MAX_NET_ADDRESS_BYTES))
        if any(len(text) > most for text, most in sizes):
            self.notebook.note("roster.member", "an event tells of a longer entry than a registry holds")
            self.stop()
            return False
        return True

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
        rounds: Any = json.loads(spec)["rounds"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    is_number = isinstance(rounds, int) and not isinstance(rounds, bool) and rounds >= 1
    return rounds if is_number else None
