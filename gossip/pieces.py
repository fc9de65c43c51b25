"""Pieces of a sum that members rebuild for each other, and the check that what was rebuilt is the sum.

The member whose piece it is publishes the piece's digest; that fixes a challenge, random coefficients for the piece's
blocks.  Every holder answers with the same combinations of its partial sum.  At most t answers are false, so that the
2t + k that lie on one polynomial are those of the true sum, and its values at the secret points are the combinations of
the true words: a false piece passes with probability about (1 / p) ** rho, whoever helps its maker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from gossip.chunks import decode_words
from gossip.codeword import Agreement, agree_on_values
from gossip.errors import MalformedMessage
from gossip.field import Integers, Words, interpolate
from gossip.lagrange import basis, holder_point
from gossip.layout import Layout
from gossip.parameters import CHECK_REPETITIONS
from gossip.prg import derive_seed
from gossip.proofs import Combination
from gossip.shamir import secret_points
from gossip.spec import digest


def challenge(value: bytes, index: int, payload: bytes, blocks: int) -> Combination:
    """The combinations that a rebuilt piece with digest `payload` is checked by, over a set with digest `value`."""
    seed = derive_seed(digest("piece", value, payload), b"piece", index)
    return Combination.from_seed(seed, blocks)


def decode_answers(given: Iterable[tuple[int, bytes]]) -> tuple[dict[int, Integers], tuple[int, ...]]:
    """Holders' answers (rho,) from (holder, words), and the holders whose words are no field elements."""
    answers, malformed = {}, []
    for holder, data in given:
        try:
            answers[holder] = decode_words(data, CHECK_REPETITIONS).astype(np.int64)
        except MalformedMessage:
            malformed.append(holder)
    return answers, tuple(malformed)


def judge(
    words: Words, answers: Mapping[int, Integers], combination: Combination, layout: Layout, excluded: int = 0
) -> tuple[bool, Agreement] | None:
    """Whether a rebuilt piece (blocks * k,) is the sum's, and whose answers (rho,) agree; None while too few do."""
    parameters = layout.parameters
    agreement = agree_on_values(answers, parameters, excluded)
    if agreement is None:
        return None
    good = agreement.good[: parameters.threshold]
    matrix = basis(tuple(map(holder_point, good)), secret_points(layout))
    true = interpolate(matrix, np.stack([answers[holder] for holder in good]).astype(np.uint32))  # (k, rho)
    columns = words.reshape(-1, parameters.pack_size)
    found = [combination.of(np.ascontiguousarray(columns[:, slot])) for slot in range(parameters.pack_size)]
    return np.array_equal(np.stack(found).astype(np.uint32), true), agreement
