"""A consortium to which everything happens that can happen on chain, and an endpoint that may lie about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from ledger.audit import audit_trail
from ledger.devchain import DevChain
from ledger.findings import AuditReport
from ledger.rewards import deals_root, pack_scores, pay, rewards_root, scores_digest
from ledger.trail import Trail
from ledger.types import (
    ABANDONED,
    DAY_SECONDS,
    EMPTY,
    SETTLED,
    STATISTICS,
    TRAINING,
    RoundResult,
    members_of,
)
from tests.helpers.chain import DISPUTES, ETHER, TERMS, Consortium
from tests.helpers.lying_proxy import Lie, honest
from tests.helpers.scene import Scene, deploy_scene

SPEC: Final = b'{"rounds":20,"task":"test"}'
NEXT_SPEC: Final = b'{"rounds":30,"task":"test"}'
STAKE_WEI: Final = 5000


class Storm(Scene):
    """A scene whose rounds pay what follows from their scores."""

    def play(self, outcome: int = SETTLED, scores: Sequence[int] | None = None, **changes: Any) -> RoundResult:
        """Records the next round, of the newest roster unless `config` names another."""
        number = len(self.results)
        keys = self.state.registry.rosters[changes.get("config", self.config)]
        kind = TRAINING if number else STATISTICS
        dealers = keys.active if outcome == SETTLED else 0
        n = len(keys.signers)
        before = self.cumulative + (0,) * (n - len(self.cumulative))
        added = pay(TERMS, kind, outcome, dealers, scores, n)
        self.cumulative = tuple(map(sum, zip(before, added, strict=True)))
        self.trees[rewards_root(self.cumulative)] = self.cumulative
        result = self.result(
            kind=kind,
            outcome=outcome,
            dealers=dealers,
            deals=deals_root({index: bytes([index]) * 32 for index in members_of(dealers)}),
            model=self.results[-1].model if outcome == ABANDONED else bytes([number + 1]) * 32,
            scores=scores_digest(scores),
            rewards=rewards_root(self.cumulative),
            rewards_total=sum(self.cumulative),
            **changes,
        )
        packed = b"" if scores is None else pack_scores(scores)
        assert self.submit(*self.submission(result, packed)), self.last_refusal
        return result

    def activate(self, result: RoundResult) -> None:
        """Waits until the round is final, then makes its rewards claimable."""
        self.travel(TERMS.dispute_window_seconds + DISPUTES.ruling_seconds)
        self.accepted("vault", "activate", result)

    def challenge(self, round_id: int, by: int) -> None:
        self.accepted("disputes", "challenge", round_id, by, EMPTY, sender=self.account(by))

    def pay_revenue(self, wei: int) -> None:
        self.accepted("vault", "payRevenue", wei, value=wei)


def raise_storm() -> Storm:
    """Nine rounds by five rosters, with every kind of event that the four contracts have."""
    storm = Storm(deploy_scene(5, SPEC))
    _learn_and_earn(storm)
    _admit_and_dispute(storm)
    _lose_stakes(storm)
    _change_and_leave(storm)
    return storm


def _learn_and_earn(storm: Storm) -> None:
    storm.accepted("vault", "fund", 9 * ETHER, value=9 * ETHER)
    for index in (1, 2, 3, 4):
        storm.accepted("vault", "stake", index, STAKE_WEI, value=STAKE_WEI)
    storm.play()
    storm.play()
    storm.activate(storm.play(scores=(300, -20, 5, 100, 7)))
    storm.accepted("vault", "claim", *storm.claim(0))
    storm.pay_revenue(55_555)
    storm.accepted("vault", "claimRevenue", 2, *storm.claim(1))


def _admit_and_dispute(storm: Storm) -> None:
    old = storm.config
    storm.accepted("registry", "admit", *storm.admission())
    storm.play(config=old, scores=(1, 2, 3, 4, 5))
    storm.play(scores=(30, 20, 10, 0, 5, 0))
    storm.challenge(4, by=1)
    storm.accepted("disputes", "ruleOnRound", *storm.round_ruling(4, is_void=False))
    storm.play()
    storm.challenge(5, by=2)
    storm.accepted("disputes", "ruleOnRound", *storm.round_ruling(5, is_void=True))
    last = storm.play(scores=(1, 1, 1, 1, 1, 9))
    storm.challenge(6, by=1)
    storm.play(ABANDONED)
    storm.activate(last)
    storm.accepted("disputes", "lapse", 6)
    storm.accepted("vault", "claim", *storm.claim(1))
    storm.pay_revenue(7_777)
    storm.accepted("vault", "claimRevenue", 6, *storm.claim(5))


def _lose_stakes(storm: Storm) -> None:
    storm.accepted("vault", "requestUnstake", 1, 500, sender=storm.account(1))
    storm.accepted("vault", "requestUnstake", 3, 500, sender=storm.account(3))
    storm.accepted("disputes", "proveEquivocation", *storm.equivocation(3))
    storm.accepted("disputes", "proveResultEquivocation", *storm.two_results(4))
    storm.accepted("disputes", "ruleOnMember", *storm.member_ruling(2, 300))
    storm.travel(2 * DAY_SECONDS)
    storm.accepted("vault", "withdrawStake", 1)


def _change_and_leave(storm: Storm) -> None:
    storm.accepted("registry", "rotate", *storm.rotation(2))
    storm.accepted("ledger", "pause", *storm.pause(storm.chain.now + 100))
    storm.accepted("registry", "proposeSpec", *storm.spec_change(NEXT_SPEC))
    storm.travel(DAY_SECONDS)
    storm.accepted("registry", "adoptSpec", NEXT_SPEC)
    storm.accepted("registry", "remove", *storm.removal(5))
    storm.accepted("registry", "leaveRoster", *storm.exit(4))
    storm.accepted("vault", "claim", *storm.claim(5))
    storm.play()
    storm.accepted("registry", "nameSuccessor", *storm.succession(storm.state.addresses["ledger"]))


class Shown:
    """A consortium's chain as an endpoint shows it that tells this lie, without a socket."""

    def __init__(self, consortium: Consortium) -> None:
        self._truth = DevChain(lambda: 0.0, consortium.chain.tester)
        self._known: dict[str, str] = {}
        self.registry: str = consortium.registry.address
        self.chain_id = consortium.chain_id
        self.lie: Lie = honest

    def request(self, method: str, params: list[Any]) -> Any:
        question = json.dumps([method, params])
        if question not in self._known:
            self._known[question] = json.dumps(self._truth.perform(method, params))
        return self.lie(method, params, json.loads(self._known[question]))

    def audit(self, lie: Lie) -> AuditReport:
        """What the audit says while this lie is told."""
        self.lie = lie
        endpoint: Any = self
        return audit_trail(Trail(endpoint), self.registry)
