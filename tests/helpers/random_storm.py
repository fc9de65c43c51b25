"""Honest histories that nobody wrote: whatever members may do, in any order, with what is refused left out."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from ledger.rewards import deals_root, pack_scores, pay, rewards_root, scores_digest
from ledger.types import ABANDONED, DAY_SECONDS, EMPTY, SETTLED, STATISTICS, TRAINING, bitmap_of, members_of
from tests.helpers.chain import ETHER, TERMS
from tests.helpers.scene import SENDERS, deploy_scene
from tests.helpers.storm import Storm

SPECS: Final = tuple(b'{"rounds":%d,"task":"test"}' % rounds for rounds in (500, 600, 700))
SPANS: Final = (1, TERMS.dispute_window_seconds, 3 * TERMS.dispute_window_seconds, DAY_SECONDS, 3 * DAY_SECONDS)


class RandomStorm(Storm):
    """Does one thing after another; each is what an honest consortium might do at that moment."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        super().__init__(deploy_scene(self.random.randrange(3, 7), SPECS[0]))
        self.awaits_scores = 0
        self.done: set[str] = set()

    def blow(self, acts: int) -> None:
        """Tries so many things; every other one is a round, so that there is always something to speak of."""
        self.accepted("vault", "fund", 200 * ETHER, value=200 * ETHER)
        kinds = [name for name in dir(self) if name.startswith("_try_")]
        for number in range(acts):
            name = "_try_round" if number % 2 else self.random.choice(kinds)
            if getattr(self, name)():
                self.done.add(name.removeprefix("_try_"))

    def _try_round(self) -> bool:
        random, number = self.random, self.state.ledger.next_round
        configs = list(self.state.registry.rosters)
        config = configs[-1] if random.random() < 0.8 else random.choice(configs)
        keys = self.state.registry.rosters[config]
        n, active = len(keys.signers), members_of(keys.active)
        least = max(max(1, len(active) // 4) + 2, (len(active) + 1) // 2)
        is_settled = number == 0 or random.random() < 0.8
        dealers = bitmap_of(random.sample(active, random.randrange(least, len(active) + 1)))
        is_scored = self.awaits_scores and n >= self.awaits_scores.bit_length() and random.random() < 0.6
        marked = self.awaits_scores
        scores = tuple(random.randrange(-400, 900) * (marked >> i & 1) for i in range(n)) if is_scored else None
        kind, outcome = TRAINING if number else STATISTICS, SETTLED if is_settled else ABANDONED
        if n < len(self.cumulative):
            return False  # a roster that was superseded
        before = self.cumulative + (0,) * (n - len(self.cumulative))
        added = pay(TERMS, kind, outcome, dealers, scores, n)
        cumulative = tuple(map(sum, zip(before, added, strict=True)))
        result = self.result(
            config=config,
            kind=kind,
            outcome=outcome,
            dealers=dealers,
            deals=deals_root({index: bytes([index]) * 32 for index in members_of(dealers)}) if is_settled else EMPTY,
            model=random.randbytes(32) if is_settled else self.results[-1].model,
            scores=scores_digest(scores),
            rewards=rewards_root(cumulative),
            rewards_total=sum(cumulative),
        )
        signers = bitmap_of(random.sample(active, random.randrange(keys.quorum, len(active) + 1)))
        packed = b"" if scores is None else pack_scores(scores)
        if not self.submit(*self.submission(result, packed, signers)):
            return False
        self.cumulative = cumulative
        self.trees[rewards_root(cumulative)] = cumulative
        self.awaits_scores = 0 if is_scored else self.awaits_scores
        if kind == TRAINING and is_settled:
            self.awaits_scores = dealers
        return True

    def _member(self) -> int:
        return self.random.randrange(len(self.state.registry.members))

    def _round(self) -> int:
        return max(0, self.state.ledger.next_round - self.random.randrange(1, 4))

    def _wait(self) -> None:
        self.travel(self.random.choice(SPANS))

    # Money.

    def _try_fund(self) -> bool:
        return self.call("vault", "fund", ETHER, value=ETHER)

    def _try_activate(self) -> bool:
        if not self.results:
            return False
        self._wait()
        return self.call("vault", "activate", self.results[self._round()])

    def _try_claim(self) -> bool:
        return self.call("vault", "claim", *self.claim(self._member()))

    def _try_revenue(self) -> bool:
        wei = self.random.randrange(1, 10**6)
        return self.call("vault", "payRevenue", wei, value=wei)

    def _try_share(self) -> bool:
        if not self.state.vault.revenue:
            return False
        round_id, paid = self.random.choice(sorted(self.state.vault.revenue.items(), key=lambda item: item[0]))
        return self.call("vault", "claimRevenue", round_id, *self.claim(self._member(), paid.root))

    def _try_stake(self) -> bool:
        wei = self.random.randrange(1, 9000)
        return self.call("vault", "stake", self._member(), wei, value=wei)

    def _try_unstake(self) -> bool:
        index = self._member()
        return self.call("vault", "requestUnstake", index, self.random.randrange(1, 3000), sender=self.account(index))

    def _try_withdraw(self) -> bool:
        self._wait()
        return self.call("vault", "withdrawStake", self._member())

    # Membership and rules.

    def _try_admit(self) -> bool:
        is_room = len(self.state.registry.members) < SENDERS
        return is_room and self.call("registry", "admit", *self.admission())

    def _try_remove(self) -> bool:
        return self.call("registry", "remove", *self.removal(self._member()))

    def _try_leave(self) -> bool:
        return self.call("registry", "leaveRoster", *self.exit(self._member()))

    def _try_rotate(self) -> bool:
        return self.call("registry", "rotate", *self.rotation(self._member()))

    def _try_propose(self) -> bool:
        return self.call("registry", "proposeSpec", *self.spec_change(self.random.choice(SPECS)))

    def _try_adopt(self) -> bool:
        self._wait()
        return any(self.call("registry", "adoptSpec", spec) for spec in SPECS)

    def _try_succeed(self) -> bool:
        return self.call("registry", "nameSuccessor", *self.succession(self.state.addresses["ledger"]))

    def _try_pause(self) -> bool:
        return self.call("ledger", "pause", *self.pause(self.chain.now + self.random.randrange(1, 2000)))

    # Disputes.

    def _try_challenge(self) -> bool:
        index = self._member()
        return self.call("disputes", "challenge", self._round(), index, EMPTY, sender=self.account(index))

    def _try_rule(self) -> bool:
        return self.call("disputes", "ruleOnRound", *self.round_ruling(self._round(), self.random.random() < 0.5))

    def _try_lapse(self) -> bool:
        self._wait()
        return self.call("disputes", "lapse", self._round())

    def _try_punish(self) -> bool:
        evidence = self.random.randbytes(32)
        return self.call("disputes", "ruleOnMember", *self.member_ruling(self._member(), 700, evidence))

    def _try_prove(self) -> bool:
        proof: Any = self.equivocation(self._member(), round=self.random.randrange(100))
        return self.call("disputes", "proveEquivocation", *proof)

    def _try_prove_results(self) -> bool:
        return self.call("disputes", "proveResultEquivocation", *self.two_results(self._member()))
