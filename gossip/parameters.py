"""The numbers of a round that follow from the size of its committee (PROTOCOL.md, "Parameters")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MODULUS: Final = 2**24 - 3
"""Field of all shares: exact in float64 arithmetic, three bytes a word."""

CHECK_REPETITIONS: Final = 6
"""rho: a false dealing passes the check with probability about (2 / MODULUS) ** rho."""

MIN_MEMBERS: Final = 3
MAX_MEMBERS: Final = 64
MAX_INDICES: Final = 256
"""Roster indices of a registry, which are never given twice."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a committee of `n` members needs, tolerates and hides.

    Attributes:
        n: members of the committee, 3 to 64.
        privacy_threshold: t, colluders that learn nothing but the aggregate; as many may misbehave.
        pack_size: k, secrets packed in one polynomial.
        quorum: q, signatures that bind the consortium; any two quorums share an honest member.
        min_dealers: A_min, fewest updates in a sum.
        min_holders: H_min, fewest holders that cover a set before it may be proposed.
        max_attempts: attempts of one round with a proof of their own (one mask each).
    """

    n: int
    privacy_threshold: int
    pack_size: int
    quorum: int
    min_dealers: int
    min_holders: int
    max_attempts: int

    @classmethod
    def of_size(cls, n: int) -> Parameters:
        """The parameters of a committee of `n`.

        Raises:
            ValueError: n is outside 3..64.
        """
        if not MIN_MEMBERS <= n <= MAX_MEMBERS:
            raise ValueError(f"a committee has {MIN_MEMBERS} to {MAX_MEMBERS} members, found {n}")
        t = k = max(1, n // 4)
        return cls(
            n=n,
            privacy_threshold=t,
            pack_size=k,
            quorum=2 * n // 3 + 1,
            min_dealers=max(t + 2, (n + 1) // 2),
            min_holders=2 * t + k,
            max_attempts=2 * t + 2,
        )

    @property
    def threshold(self) -> int:
        """t + k: shares that fix a polynomial."""
        return self.privacy_threshold + self.pack_size

    @property
    def agreeing_sums(self) -> int:
        """2t + k: partial sums on one polynomial that open a sum, since at most t lie."""
        return 2 * self.privacy_threshold + self.pack_size

    @property
    def score_threshold(self) -> int:
        """t + 2k - 1: answers that fix a score's polynomial."""
        return self.privacy_threshold + 2 * self.pack_size - 1

    @property
    def agreeing_answers(self) -> int:
        """2t + 2k - 1: answers on one polynomial that open a score."""
        return self.score_threshold + self.privacy_threshold

    def seeded_holders(self, dealer: int) -> tuple[int, ...]:
        """The t holders to whom `dealer` sends a seed instead of a share; they rotate with the dealer."""
        return tuple((dealer + 1 + i) % self.n for i in range(self.privacy_threshold))

    def proposer(self, round_id: int, attempt: int) -> int:
        """Whose turn it is to propose in this attempt."""
        return (round_id + attempt) % self.n
