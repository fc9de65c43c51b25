"""A consortium of four with a short history on a development chain, signed by test keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eth_abi.abi import encode
from eth_hash.auto import keccak

from ledger.client import LedgerClient
from ledger.connection import Connection, account_of
from ledger.deploy import deploy
from ledger.devchain import DEV_KEYS
from ledger.finality import INSTANT, Finality
from ledger.rewards import deals_root, pay, rewards_proof, rewards_root, scores_digest
from ledger.types import (
    ABANDONED,
    CLOSING,
    EMPTY,
    SETTLED,
    STATISTICS,
    TRAINING,
    DisputeTerms,
    Member,
    Roster,
    RoundResult,
    VaultTerms,
    members_of,
)
from tests.helpers.chain import MOCKS, address_of, compact_signature, key_of

N: Final = 4
QUORUM: Final = 0b0111
SPEC: Final = b'{"rounds":3,"task":"test"}'
TERMS: Final = VaultTerms(round_budget_wei=10**15, participation_ppm=500_000, dispute_window_seconds=0)
FUND_WEI: Final = 10**18


@dataclass(frozen=True)
class Step:
    """What one round of the history was: all dealt, or nobody did; the scores are those it published."""

    kind: int
    outcome: int = SETTLED
    dealers: int = 0b1111
    scores: tuple[int, ...] | None = None


HISTORY: Final = (
    Step(STATISTICS),
    Step(TRAINING),
    Step(TRAINING, ABANDONED, dealers=0),
    Step(TRAINING, dealers=0b1011, scores=(300, -20, 5, 100)),
    Step(CLOSING, scores=(50, 50, 0, 1)),
)
"""The abandoned round leaves the scores of the first training round to the one after it."""


@dataclass
class Recorded:
    """A deployment, and what its members earned after each recorded round."""

    client: LedgerClient
    roster: Roster
    results: list[RoundResult]
    cumulative: list[tuple[int, ...]]
    key: str = DEV_KEYS[1]

    def signatures(self, result: RoundResult, signers: int = QUORUM) -> bytes:
        digest = result.signing_digest(self.roster.chain_id, self.roster.ledger)
        return b"".join(compact_signature(key_of(f"signer {i}"), digest) for i in members_of(signers))

    def record(self, step: Step) -> None:
        """Submits the next round."""
        result = self.next(step)
        self.submit(result, step.scores)

    def submit(self, result: RoundResult, scores: tuple[int, ...] | None = None) -> str | None:
        """Submits a result that `next` gave."""
        return self.client.submit(self.key, result, scores, QUORUM, self.signatures(result))

    def next(self, step: Step) -> RoundResult:
        """The result of the next round, which is from now on taken for recorded."""
        before = self.cumulative[-1] if self.cumulative else (0,) * N
        added = pay(TERMS, step.kind, step.outcome, step.dealers, step.scores, N)
        cumulative = tuple(old + new for old, new in zip(before, added, strict=True))
        number = len(self.results)
        deals = {index: bytes([index]) * 32 for index in members_of(step.dealers)}
        model = bytes([number]) * 32 if step.outcome == SETTLED else self.results[-1].model
        result = RoundResult(
            round=number,
            kind=step.kind,
            outcome=step.outcome,
            previous=self.results[-1].struct_hash() if number else EMPTY,
            config=self.roster.config_digest,
            dealers=step.dealers,
            model=model,
            deals=deals_root(deals),
            scores=scores_digest(step.scores),
            rewards=rewards_root(cumulative),
            rewards_total=sum(cumulative),
        )
        self.results.append(result)
        self.cumulative.append(cumulative)
        return result

    def activate(self, round_id: int) -> None:
        self.client.activate(self.key, self.results[round_id])

    def claim(self, index: int) -> None:
        """Pays the member what it has earned up to the last recorded round, which has to be active."""
        leaves = self.cumulative[-1]
        self.client.claim(self.key, index, leaves[index], rewards_proof(leaves, index))


def member(index: int) -> Member:
    """The entry of the test member with this index."""
    return Member(
        index=index,
        account=address_of(key_of(f"account {index}")),
        signer=address_of(key_of(f"signer {index}")),
        name=f"hospital-{index}",
        peer_id=f"12D3KooW{index:044d}",
        host="127.0.0.1",
        port=4000 + index,
    )


def begin(
    rpc_url: str,
    keys: Sequence[str] = DEV_KEYS,
    finality: Finality = INSTANT,
    first: Member | None = None,
    token: str | None = None,
) -> Recorded:
    """A deployment without rounds; the first of `keys` pays for it, the second for everything that follows.

    Args:
        first: another member with index 0.
        token: what the vault pays in, from what the first two of `keys` hold of it.
    """
    members = (first or member(0), *map(member, range(1, N)))
    funded = 0 if token else FUND_WEI
    registry = deploy(rpc_url, keys[0], members, SPEC, TERMS, funded, DisputeTerms(asset=token)).registry
    client = LedgerClient(rpc_url, registry, finality=finality)
    if token is not None:
        for key in keys[:2]:
            on_token(rpc_url, key, token, "approve(address,uint256)", client.addresses[2], 2**256 - 1)
        client.fund(keys[0], FUND_WEI)
    return Recorded(client, client.roster(), [], [], keys[1])


def deploy_token(rpc_url: str, keys: Sequence[str] = DEV_KEYS) -> str:
    """Address of an ERC-20 token of which the first two of `keys` hold enough."""
    artifact = json.loads((MOCKS / "PlainToken.json").read_text(encoding="utf-8"))
    _, receipt = Connection(rpc_url).send(keys[0], {"data": artifact["bytecode"]}, 2_000_000)
    token = str(receipt["contractAddress"])
    for key in keys[:2]:
        on_token(rpc_url, keys[0], token, "mint(address,uint256)", account_of(key).address, 10 * FUND_WEI)
    return token


def on_token(rpc_url: str, key: str, token: str, function: str, address: str, amount: int) -> None:
    """Calls a function of the token that takes an address and an amount."""
    data = keccak(function.encode())[:4] + encode(["address", "uint256"], [address, amount])
    Connection(rpc_url).send(key, {"to": token, "data": "0x" + data.hex()}, 200_000)


def token_balance(rpc_url: str, token: str, address: str) -> int:
    """What the address holds of the token."""
    data = keccak(b"balanceOf(address)")[:4] + encode(["address"], [address])
    return int(Connection(rpc_url).request("eth_call", [{"to": token, "data": "0x" + data.hex()}, "latest"]), 16)


def record_history(rpc_url: str, steps: Sequence[Step] = HISTORY, keys: Sequence[str] = DEV_KEYS) -> Recorded:
    """Deploys, records `steps`, pays member 0 after the first training round and members 0 and 1 after the last."""
    recorded = begin(rpc_url, keys)
    for number, step in enumerate(steps):
        recorded.record(step)
        if number == 1:
            recorded.activate(number)
            recorded.claim(0)
    recorded.activate(len(steps) - 1)
    recorded.claim(0)
    recorded.claim(1)
    return recorded
