"""Whatever a consortium's members can do on chain, built valid, so that a test changes one thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace
from typing import Any, Final

from coincurve import PrivateKey
from eth_hash.auto import keccak

from ledger.approvals import (
    Admission,
    Approval,
    Exit,
    MemberRuling,
    Pause,
    Removal,
    Rotation,
    RoundRuling,
    SpecChange,
    Statement,
    Succession,
)
from ledger.model_state import Entry
from ledger.rewards import deals_root, rewards_proof, rewards_root
from ledger.types import ABANDONED, EMPTY, SETTLED, TRAINING, RoundResult, bitmap_of, members_of
from tests.helpers.chain import (
    SPEC,
    TERMS,
    Chain,
    Consortium,
    Refusal,
    address_of,
    compact_signature,
    deploy_consortium,
    entry,
    key_of,
)
from tests.helpers.twins import Twins

EVIDENCE: Final = keccak(b"evidence")
OTHER: Final = keccak(b"other")
KEYS: Final = {
    address_of(key): key
    for label in ("signer", "account", "rotated signer", "rotated account")
    for key in (key_of(f"{label} {index}") for index in range(65))
}
SENDERS: Final = 8
"""Members whose accounts can send transactions."""


def deploy_scene(n: int = 5, spec: bytes = SPEC) -> Consortium:
    """A consortium whose members' accounts can send transactions."""
    consortium = deploy_consortium(n, spec=spec)
    for index in range(SENDERS):
        for label in ("account", "rotated account"):
            consortium.chain.adopt(key_of(f"{label} {index}"))
    return consortium


def new_entry(index: int, **changes: Any) -> Entry:
    """The entry that a member with this index asks for."""
    return replace(Entry(*entry(index)), **changes)


class Scene(Twins):
    """Twins, with builders of the arguments of every call; `signers` are bitmaps, by default the first quorum."""

    def __init__(self, consortium: Consortium, seen: Counter[str] | None = None) -> None:
        super().__init__(consortium, Counter() if seen is None else seen)
        self.results: list[RoundResult] = []
        self.cumulative: tuple[int, ...] = ()
        self.trees: dict[bytes, tuple[int, ...]] = {}

    @property
    def chain(self) -> Chain:
        return self.consortium.chain

    @property
    def config(self) -> bytes:
        return self.state.registry.config_digest

    def accepted(self, contract: str, function: str, *args: Any, **options: Any) -> None:
        """Both accept the call."""
        assert self.call(contract, function, *args, **options), self.last_refusal

    def refused(self, contract: str, function: str, *args: Any, **options: Any) -> Refusal:
        """How both refuse the call."""
        assert not self.call(contract, function, *args, **options), f"{function} was accepted"
        assert self.last_refusal is not None
        return self.last_refusal

    def travel(self, seconds: int) -> None:
        """The next call's block is that much later than the newest one."""
        self.chain.travel_to(self.chain.now + seconds)

    def account(self, index: int) -> str:
        return self.state.registry.members[index].account

    def quorum(self) -> int:
        """Bitmap of the first quorum of active members."""
        keys = self.state.registry.keys
        return bitmap_of(members_of(keys.active)[: keys.quorum])

    def signed_by(self, digest: bytes, signers: Iterable[int], config: bytes | None = None) -> bytes:
        """The signatures of these members of the newest roster, or of the one named."""
        keys = self.state.registry.rosters[config or self.config]
        known = [keys.signers[index] for index in signers if index < len(keys.signers)]
        return b"".join(compact_signature(KEYS[address], digest) for address in known if address in KEYS)

    def approved(self, contract: str, approval: Approval, signers: int | None = None) -> tuple[int, bytes]:
        """Bitmap and signatures."""
        bitmap = self.quorum() if signers is None else signers
        digest = approval.signing_digest(self.state.chain_id, self.state.addresses[contract])
        return bitmap, self.signed_by(digest, members_of(bitmap))

    def by_account(self, index: int, approval: Approval) -> bytes:
        digest = approval.signing_digest(self.state.chain_id, self.state.addresses["registry"])
        return compact_signature(KEYS[self.account(index)], digest)

    # Arguments of the registry's functions.

    def admission(self, wanted: Entry | None = None, signers: int | None = None) -> tuple[Entry, int, bytes]:
        found = wanted or new_entry(len(self.state.registry.members))
        return found, *self.approved("registry", Admission(self.config, *astuple(found)), signers)

    def removal(self, index: int, signers: int | None = None) -> tuple[int, bytes, int, bytes]:
        return index, EVIDENCE, *self.approved("registry", Removal(self.config, index, EVIDENCE), signers)

    def rotation(self, index: int, key: PrivateKey | None = None, **changes: Any) -> tuple[Any, ...]:
        """As the member's account signs it, or whoever has `key`."""
        new = {
            "account": address_of(key_of(f"rotated account {index}")),
            "signer": address_of(key_of(f"rotated signer {index}")),
            "peer_id": b"12D3KooWrotated%d" % index,
            "net_address": f"10.1.1.{index}:4001",
        } | changes
        fields = (new["account"], new["signer"], new["peer_id"], new["net_address"])
        digest = Rotation(self.config, index, *fields).signing_digest(
            self.state.chain_id, self.state.addresses["registry"]
        )
        return index, *fields, compact_signature(key or KEYS[self.account(index)], digest)

    def exit(self, index: int) -> tuple[int, bytes]:
        return index, self.by_account(index, Exit(self.config, index))

    def spec_change(self, spec: bytes, signers: int | None = None) -> tuple[bytes, int, bytes]:
        change = SpecChange(self.config, self.state.registry.spec_proposals, keccak(spec))
        return spec, *self.approved("registry", change, signers)

    def succession(self, successor: str, signers: int | None = None) -> tuple[str, int, bytes]:
        return successor, *self.approved("registry", Succession(self.config, successor), signers)

    # Arguments of the ledger's functions, and rounds.

    def pause(self, until: int, signers: int | None = None) -> tuple[int, int, bytes]:
        return until, *self.approved("ledger", Pause(self.config, self.state.ledger.pauses, until), signers)

    def result(self, **changes: Any) -> RoundResult:
        """The next round's result: training, settled by everybody, nothing paid; with `changes`."""
        keys = self.state.registry.rosters[changes.get("config", self.config)]
        following = self.state.ledger.next_round
        valid = RoundResult(
            round=following,
            kind=TRAINING,
            outcome=SETTLED,
            previous=self.results[-1].struct_hash() if following else EMPTY,
            config=self.config,
            dealers=keys.active,
            model=keccak(b"model %d" % following),
            deals=deals_root({0: EVIDENCE}),
            scores=EMPTY,
            rewards=rewards_root(self.cumulative or [0] * len(keys.signers)),
            rewards_total=sum(self.cumulative),
        )
        return replace(valid, **changes)

    def submission(
        self, result: RoundResult, scores: bytes = b"", signers: int | None = None
    ) -> tuple[RoundResult, bytes, int, bytes]:
        """Signed by the roster that the result names, if there is such a one."""
        config = result.config if result.config in self.state.registry.rosters else self.config
        keys = self.state.registry.rosters[config]
        bitmap = bitmap_of(members_of(keys.active)[: keys.quorum]) if signers is None else signers
        digest = result.signing_digest(self.state.chain_id, self.state.addresses["ledger"])
        return result, scores, bitmap, self.signed_by(digest, members_of(bitmap), config)

    def submit(self, *submission: Any) -> bool:
        taken = self.call("ledger", "submitRound", *submission)
        if taken:
            self.results.append(submission[0])
        return taken

    def record(self, **changes: Any) -> RoundResult:
        result = self.result(**changes)
        assert self.submit(*self.submission(result)), self.last_refusal
        return result

    def record_abandoned(self) -> RoundResult:
        return self.record(outcome=ABANDONED, dealers=0, deals=EMPTY)

    def record_rewards(self, added: Sequence[int], overstated: int = 0) -> RoundResult:
        """A round that adds this to what members have earned; its total may differ from its leaves' sum."""
        if not self.results:
            self.record()
        n = max(len(added), len(self.cumulative))
        old, new = (tuple(part) + (0,) * (n - len(part)) for part in (self.cumulative, added))
        self.cumulative = tuple(map(sum, zip(old, new, strict=True)))
        self.trees[rewards_root(self.cumulative)] = self.cumulative
        return self.record(rewards_total=max(0, sum(self.cumulative) + overstated))

    def activate_rewards(self, added: Sequence[int]) -> RoundResult:
        """Records, funds and activates them."""
        result = self.record_rewards(added)
        self.accepted("vault", "fund", sum(added), value=sum(added))
        self.travel(TERMS.dispute_window_seconds)
        self.accepted("vault", "activate", result)
        return result

    # Arguments of the vault's functions.

    def claim(self, index: int, root: bytes | None = None) -> tuple[int, int, tuple[bytes, ...]]:
        """What the member is owed under the active root, or another one, with the proof."""
        tree = self.trees.get(root or self.state.vault.active_root, self.cumulative)
        if index >= len(tree):
            return index, 1, ()
        return index, tree[index], rewards_proof(tree, index)

    # Arguments of the functions of Disputes.

    def equivocation(self, index: int, **changes: Any) -> tuple[int, Statement, bytes, bytes, bytes]:
        statement = replace(Statement(self.config, 3, 4, 1, 2, EVIDENCE), **changes)
        signed = [
            self.said(index, said.signing_digest(self.state.chain_id, self.state.addresses["ledger"]), statement.config)
            for said in (statement, replace(statement, digest=OTHER))
        ]
        return index, statement, OTHER, signed[0], signed[1]

    def two_results(self, index: int, **changes: Any) -> tuple[int, RoundResult, RoundResult, bytes, bytes]:
        first = self.result()
        second = replace(first, **({"model": OTHER} | changes))
        signed = [
            self.said(index, said.signing_digest(self.state.chain_id, self.state.addresses["ledger"]), first.config)
            for said in (first, second)
        ]
        return index, first, second, signed[0], signed[1]

    def said(self, index: int, digest: bytes, config: bytes) -> bytes:
        keys = self.state.registry.rosters.get(config, self.state.registry.keys)
        signer = keys.signers[index] if index < len(keys.signers) else ""
        return compact_signature(KEYS.get(signer, key_of("stranger")), digest)

    def round_ruling(self, round_id: int, is_void: bool, signers: int | None = None) -> tuple[Any, ...]:
        ruling = RoundRuling(self.config, round_id, is_void, EVIDENCE)
        return round_id, is_void, EVIDENCE, *self.approved("disputes", ruling, signers)

    def member_ruling(
        self, index: int, amount_wei: int, evidence: bytes = EVIDENCE, signers: int | None = None
    ) -> tuple[Any, ...]:
        ruling = MemberRuling(self.config, index, amount_wei, evidence)
        return index, amount_wei, evidence, *self.approved("disputes", ruling, signers)
