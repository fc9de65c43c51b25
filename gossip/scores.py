"""Contribution scores of updates that nobody sees: a public direction, answers on shares, one number each.

The score of member i is the decrease of validation loss that its part of the average causes, to second
order: -1/2 <g_r + g_next, w_i x_i / W>, with the average validation gradients g at the two ends of the
round.  For a quadratic loss this is the Shapley value.  The direction is an integer vector v, the same
everywhere; a holder weighs its share of block b by the value at its point of the polynomial through v's k
slots, and adds up; answers lie on a polynomial of degree t + 2k - 2 whose values at the secret points add
up to <v, x_i>.  Source: scores.md, 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Final

import msgspec
import numpy as np

from gossip import quantise
from gossip.codeword import decode
from gossip.errors import LocalError
from gossip.field import Integers, Words
from gossip.lagrange import basis, holder_point
from gossip.layout import Layout
from gossip.parameters import MODULUS, Parameters
from gossip.prg import derive_seed, dither
from gossip.shamir import secret_points
from gossip.spec import HALF, MICRO, RoundKind, TaskSpec

SCALE_BITS: Final = 40
MAX_PPM: Final = 1 << 62
DITHER_BITS: Final = 24

_GRADIENT_BITS: Final = 22
_Weight = Annotated[int, msgspec.Meta(ge=0, le=HALF)]
_TILE: Final = 1 << 15


@dataclass(frozen=True, eq=False)
class Direction:
    """An integer vector along minus the mean of two gradients.

    Attributes:
        values: (d,) v, within the bound it was made for; v = A * numerator / 2^(40 + shift) up to its
            dither, where A = -(G_r * Q_next + G_next * Q_r) and G, Q are gradient sums and their weights.
        numerator: 0 where there is no direction, and every score is 0.
        shift: low bits of A that were dropped.
    """

    values: Integers
    numerator: int
    shift: int


class Terms(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What turns opened values into parts per million, beside the spec; follows from the models of two rounds.

    Attributes:
        numerator, shift: of the direction.
        weight: the scored round's sum of weights.
        gradient_weights: of the two sums that made the direction.
    """

    numerator: Annotated[int, msgspec.Meta(ge=0)]
    shift: Annotated[int, msgspec.Meta(ge=0, lt=64)]
    weight: Annotated[int, msgspec.Meta(ge=1, le=HALF)]
    gradient_weights: tuple[_Weight, _Weight]


def direction_bound(spec: TaskSpec, round_id: int) -> int:
    """V: bound on |v|_2, so that |<v, x>| <= HALF for every update within its own bound (Cauchy-Schwarz).

    Raises:
        LocalError: the round is not one of training, and is never scored.
    """
    if spec.kind(round_id) is not RoundKind.TRAINING:
        raise LocalError(f"round {round_id} is not scored")
    return HALF // quantise.update_bound(spec)


def score_bound(spec: TaskSpec, round_id: int) -> int:
    """Largest magnitude of <v, x> for an update within its bound; close to HALF, since v uses all the room."""
    return direction_bound(spec, round_id) * quantise.update_bound(spec)


def compute_direction(
    gradient_sum: Integers,
    next_gradient_sum: Integers,
    gradient_weight: int,
    next_gradient_weight: int,
    bound: int,
    beacon: bytes,
) -> Direction:
    """v with |v|_2 <= bound along minus the mean of two average gradients, each of which counts equally.

    v = (A' * numerator + dither << 16) >> 40, with A' the 22 leading bits of A (arithmetic shifts, so
    floors), 24-bit dither from the beacon, and the first numerator of a ladder in steps of 2 % for which
    the squares of v add up to at most bound^2.  The ladder starts at (bound << 40) // isqrt(sum of squares
    of A').  A round without gradients (weight 0) counts as a gradient of 0.

    Raises:
        LocalError: sums of different lengths, a negative weight, or numbers that no sum holds.
    """
    combined = _combine(gradient_sum, next_gradient_sum, gradient_weight, next_gradient_weight)
    shift, vector = _leading_bits(combined)
    length = math.isqrt(_squared_norm(vector))
    if length == 0:
        return Direction(np.zeros_like(vector), 0, 0)
    noise = dither(derive_seed(beacon, b"direction"), len(vector)).astype(np.int64)
    noise <<= SCALE_BITS - DITHER_BITS
    ladder = [(bound << SCALE_BITS) // length]
    while ladder[-1]:
        ladder.append(ladder[-1] * 49 // 50)
    # |v| grows with the numerator in every coordinate, so that the first that fits can be found by bisection.
    low, high = 0, len(ladder) - 1
    while low < high:
        middle = (low + high) // 2
        if _squared_norm((vector * ladder[middle] + noise) >> SCALE_BITS) <= bound**2:
            high = middle
        else:
            low = middle + 1
    return Direction((vector * ladder[low] + noise) >> SCALE_BITS, ladder[low], shift)


def answer(direction: Direction, share: Words, layout: Layout, holder: int) -> int:
    """The holder's answer for one dealer, a field element, from its share (total_blocks,) of that dealer's update.

    Raises:
        LocalError: a share of another length, or a direction longer than the payload.
    """
    if share.shape != (layout.total_blocks,) or len(direction.values) > layout.words:
        raise LocalError(f"the direction does not fit a share of {share.size} words")
    factors = _factors(direction, layout, holder)
    total = 0
    for start in range(0, len(factors), _TILE):  # 2^15 products of 47 bits fit in 63
        tile = factors[start : start + _TILE]
        total += int(tile @ share[start : start + len(tile)].astype(np.int64))
    return total % MODULUS


def open_score(
    answers: Mapping[int, int], parameters: Parameters, excluded: int = 0
) -> tuple[int | None, tuple[int, ...]]:
    """<v, x_i> from the holders' answers for member i, and the holders whose answers are false.

    None, and nobody named, as long as the value is not certain: fewer than 2t + 2k - 1 answers would agree,
    or more than t would have to be false.  Then wait for more, or carry the score over; never guess.  Both less
    `excluded`, members proven false whose answers are not among these.

    Raises:
        LocalError: an unknown holder.
    """
    holders = tuple(sorted(answers))
    if holders and not (holders[0] >= 0 and holders[-1] < parameters.n):
        raise LocalError(f"holders are numbered 0 to {parameters.n - 1}, found {holders}")
    xs = tuple(map(holder_point, holders))
    found = decode(xs, [answers[j] for j in holders], parameters.score_threshold - 1)
    if found is None:
        return None, ()
    # [RULE] At most t answers, less as many as are proven false, are off when a score opens
    if len(found.wrong) > max(0, parameters.privacy_threshold - excluded):
        return None, ()
    # [RULE] 2t + 2k - 1 answers, less as many as are proven false, agree before a score opens
    if len(holders) - len(found.wrong) < max(parameters.score_threshold, parameters.agreeing_answers - excluded):
        return None, ()
    slots = [-1 - slot for slot in range(parameters.pack_size)]
    value = sum(c * sum(x**e for x in slots) for e, c in enumerate(found.coefficients)) % MODULUS
    return value - MODULUS if value > HALF else value, tuple(holders[i] for i in found.wrong)


def open_scores(
    answers: Mapping[int, Mapping[int, int]], dealers: Iterable[int], parameters: Parameters, excluded: int = 0
) -> tuple[dict[int, int] | None, tuple[int, ...]]:
    """<v, x_i> of every dealer from the holders' answers, {holder: {dealer: element}}, and who answered falsely.

    None as long as any of them is not certain, as `open_score`.
    """
    opened: dict[int, int] = {}
    wrong: set[int] = set()
    for dealer in sorted(dealers):
        given = {holder: elements[dealer] for holder, elements in answers.items() if dealer in elements}
        value, liars = open_score(given, parameters, excluded)
        wrong.update(liars)
        if value is None:
            return None, tuple(sorted(wrong))
        opened[dealer] = value
    return opened, tuple(sorted(wrong))


def scores_of(opened: Mapping[int, int], terms: Terms, spec: TaskSpec, scored: int, n: int) -> tuple[int, ...]:
    """Parts per million for each of n members from the opened values of the scored round's dealers."""
    bound = score_bound(spec, scored)
    found = [0] * n
    for dealer, value in opened.items():
        # [RULE] A value that no update within its norm can have earns nothing
        if abs(value) > bound:
            continue
        found[dealer] = to_ppm(value, terms, spec)
    return tuple(found)


def to_ppm(value: int, terms: Terms, spec: TaskSpec) -> int:
    """Parts per million of validation loss that a member's part of the average took away, rounded down.

    value = <v, x_i>.  Exact, with the scales s_x, s_g of updates and gradients, Q the gradients' weights:

        floor(10^6 * value * max_weight / (s_x * weight)
              * max_gradient_weight * 2^(40 + shift) / (2 * s_g * Q_r * Q_next * numerator))

    and at most 2^62 either way, whatever norms a task allows.

    Raises:
        LocalError: the weights add up to nothing.
    """
    if terms.weight < 1:
        raise LocalError(f"an average needs a positive weight, found {terms.weight}")
    if terms.numerator == 0:
        return 0
    first, second = (max(1, q) for q in terms.gradient_weights)
    part = Fraction(value * spec.max_weight, terms.weight) / quantise.update_scale(spec, round_id=1)
    unit = Fraction(spec.max_gradient_weight << (SCALE_BITS + terms.shift), 2 * first * second * terms.numerator)
    return max(-MAX_PPM, min(MAX_PPM, math.floor(MICRO * part * unit / quantise.gradient_scale(spec))))


def _combine(first: Integers, second: Integers, first_weight: int, second_weight: int) -> Integers:
    """A = -(G_r * Q_next + G_next * Q_r); below 2^47 since all four are sums in the field."""
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise LocalError(f"two gradients of one model, found shapes {first.shape} and {second.shape}")
    for vector, weight in ((first, first_weight), (second, second_weight)):
        if not 0 <= weight <= HALF or int(np.abs(vector).max()) > HALF:
            raise LocalError("a gradient sum or its weight is no sum in the field")
    combined = np.zeros_like(first, dtype=np.int64)
    if first_weight:
        combined -= first * max(1, second_weight)
    if second_weight:
        combined -= second * max(1, first_weight)
    return combined


def _leading_bits(vector: Integers) -> tuple[int, Integers]:
    """Low bits to drop so that magnitudes stay within 2^22, and the vector without them."""
    shift = max(0, int(np.abs(vector).max()).bit_length() - _GRADIENT_BITS)
    return shift, vector >> shift


def _squared_norm(vector: Integers) -> int:
    """Exact: 2^15 squares of 46 bits fit in 63."""
    return sum(
        int(vector[start : start + _TILE] @ vector[start : start + _TILE]) for start in range(0, len(vector), _TILE)
    )


@lru_cache(maxsize=4)
def _factors(direction: Direction, layout: Layout, holder: int) -> Integers:
    """(ceil(d / k),) centred: G_b at the holder's point, for the blocks that the direction reaches."""
    k = layout.parameters.pack_size
    slots = np.zeros(-(-len(direction.values) // k) * k, dtype=np.int64)
    slots[: len(direction.values)] = direction.values
    weights = basis(secret_points(layout), (holder_point(holder),))[0].astype(np.int64)  # (k,)
    factors = slots.reshape(-1, k) @ weights % MODULUS
    factors[factors > HALF] -= MODULUS
    return np.asarray(factors)
