"""Floats to the integers that are dealt, and sums of them back: clipping, weighting, scales that cannot wrap.

A member deals round(scale * weight / max_weight * clipped vector), rounded stochastically, and its weight
as one more word.  Scales are exact fractions of integers in the task's spec:

- updates of a training or closing round: |integers|_2 <= L, the power of two that is at least 64 * sqrt(d),
between
  2^12 and 2^16, and scale = (L - sqrt(d)/2 - 4) / clip_norm, sqrt(d)/2 rounded up.  Rounding is drawn again
  until the bound holds exactly.  So a score's direction v may have |v|_2 up to HALF / L (scores.md, 1,
  "No-wrap rule");
- gradients: |vector|_2 <= gradient_clip, and scale = (2^16 - 1) / gradient_clip;
- statistics: each number within [-1, 1], and scale = 2^16 - 1.

2^16 is the largest power of two whose 64-fold, one for each member, is a residue's magnitude: no sum wraps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from gossip import chunks
from gossip.errors import LocalError
from gossip.field import Integers, Reals, Words, from_field
from gossip.layout import Layout
from gossip.parameters import MAX_MEMBERS
from gossip.prg import SEED_BYTES, ByteStream
from gossip.spec import MICRO, RoundKind, TaskSpec

MAX_MAGNITUDE: Final = 2**16
"""Largest integer that one member may add to a coordinate."""
MAX_DRAWS: Final = 64

_TILE: Final = 1 << 16
_PIECE: Final = 1 << 14
"""Numbers that are rounded at a time: their noise, 64 KiB, stays in the cache."""
_Number = TypeVar("_Number", np.int64, np.float64)


@dataclass(frozen=True, eq=False)
class SumOfPayloads:
    """What a round's sum says.

    Attributes:
        update: (D,) sum of the dealt integers.
        weight: sum of the weights.
        gradient: (d,) sum of the dealt gradients; None in round 0.
        gradient_weight: sum of their weights; 0 in round 0.
    """

    update: Integers
    weight: int
    gradient: Integers | None
    gradient_weight: int


# --- scales -------------------------------------------------------------------------------------------------


def update_bound(spec: TaskSpec) -> int:
    """L: bound on the L2 norm of the integers of one member's update."""
    bound = 2**12
    while bound < MAX_MAGNITUDE and bound**2 < 64**2 * spec.dimension:
        bound *= 2
    return bound


def update_scale(spec: TaskSpec, round_id: int) -> Fraction:
    """Integers per unit of the round's first vector, at full weight."""
    if spec.kind(round_id) is RoundKind.STATISTICS:
        return Fraction(MAX_MAGNITUDE - 1)
    margin = math.isqrt(spec.dimension) // 2 + 1 + 4
    return Fraction((update_bound(spec) - margin) * MICRO, spec.clip_norm_micro)


def gradient_scale(spec: TaskSpec) -> Fraction:
    """Integers per unit of a validation gradient, at full weight."""
    return Fraction((MAX_MAGNITUDE - 1) * MICRO, spec.gradient_clip_micro)


# --- one member's part --------------------------------------------------------------------------------------


def quantise_payload(
    update: Reals,
    weight: int,
    gradient: Reals | None,
    gradient_weight: int,
    spec: TaskSpec,
    round_id: int,
    layout: Layout,
    random_bytes: Callable[[int], bytes],
) -> Words:
    """(words,) payload [update, weight, gradient, gradient weight]; without a gradient [update, weight].

    Raises:
        LocalError: as `quantise_update` and `quantise_gradient`, or the parts do not fill the layout.
    """
    sizes = (len(update), 1) if gradient is None else (len(update), 1, len(gradient), 1)
    if sum(sizes) != layout.words:
        raise LocalError(f"a payload has {layout.words} words, found {sum(sizes)}")
    payload, size = np.empty(layout.words, dtype=np.uint32), len(update)
    quantise_update(update, weight, spec, round_id, random_bytes, payload[:size])
    payload[size] = weight
    if gradient is not None:
        quantise_gradient(gradient, gradient_weight, spec, random_bytes, payload[size + 1 : -1])
        payload[-1] = gradient_weight
    return payload


def quantise_update(
    update: Reals, weight: int, spec: TaskSpec, round_id: int, random_bytes: Callable[[int], bytes], words: Words
) -> None:
    """Fill `words` (D,) with the integers of an update, or of the statistics of round 0, clipped and weighted.

    Raises:
        LocalError: NaN or infinity, another length, a weight outside 1..max_weight, or no draw within the
            bound.
    """
    _check_weight(weight, 1, spec.max_weight)
    vector = _checked(update, spec.update_size(round_id))
    scale = update_scale(spec, round_id) * Fraction(weight, spec.max_weight)
    if spec.kind(round_id) is RoundKind.STATISTICS:
        _round(np.clip(vector, -1.0, 1.0), float(scale), random_bytes, words)
        return
    factor = float(scale) * _shrink(vector, spec.clip_norm_micro)
    for _ in range(MAX_DRAWS):
        if _round(vector, factor, random_bytes, words) <= update_bound(spec) ** 2:
            return
    raise LocalError(f"no rounding of the update met its bound in {MAX_DRAWS} draws")


def quantise_gradient(
    gradient: Reals, weight: int, spec: TaskSpec, random_bytes: Callable[[int], bytes], words: Words
) -> None:
    """Fill `words` (d,) with the integers of a validation gradient, clipped and weighted.

    Raises:
        LocalError: NaN or infinity, another length, or a weight outside 0..max_gradient_weight.
    """
    _check_weight(weight, 0, spec.max_gradient_weight)
    vector = _checked(gradient, spec.dimension)
    scale = gradient_scale(spec) * Fraction(weight, spec.max_gradient_weight)
    _round(vector, float(scale) * _shrink(vector, spec.gradient_clip_micro), random_bytes, words)


# --- the sum ------------------------------------------------------------------------------------------------


def unpack_sum(words: Words, spec: TaskSpec, round_id: int, n_dealers: int) -> SumOfPayloads:
    """The parts of the sum (words,) of `n_dealers` payloads.

    Raises:
        LocalError: another number of words, or more dealers than add up without wrapping.
    """
    size, has_gradient = spec.update_size(round_id), spec.kind(round_id) is not RoundKind.STATISTICS
    expected = size + 1 + (spec.dimension + 1 if has_gradient else 0)
    if words.shape != (expected,):
        raise LocalError(f"the sum has {expected} words, found shape {words.shape}")
    if n_dealers > MAX_MEMBERS:
        raise LocalError(f"payloads of at most {MAX_MEMBERS} members add up, found {n_dealers}")
    values = from_field(words)
    if not has_gradient:
        return SumOfPayloads(values[:size], int(values[size]), None, 0)
    return SumOfPayloads(values[:size], int(values[size]), values[size + 1 : -1], int(values[-1]))


def check_sum(total: SumOfPayloads, spec: TaskSpec, round_id: int, n_dealers: int) -> str | None:
    """Why no `n_dealers` members that follow the rules have this sum; None if they may.

    Averages are compared in exact integers, with room for rounding.  A number is off by less than 1 in each
    member's part, which bounds statistics.  The L2 norm of all rounding errors exceeds (sqrt(d) + 10) *
    sqrt(n_dealers) / 2 with probability below exp(-50): errors are independent, bounded in an interval of
    length 1, hence sub-Gaussian (Hsu, Kakade, Zhang 2012, Theorem 2.1).
    """
    # [REJECT] Each dealer's weight lies in 1..max_weight
    if not n_dealers <= total.weight <= n_dealers * spec.max_weight:
        return f"weights of {n_dealers} members add up to {total.weight}"
    length = update_scale(spec, round_id) * Fraction(total.weight, spec.max_weight)
    if total.gradient is None:
        # [REJECT] Each statistic's average lies in [-1, 1]
        if int(np.abs(total.update).max()) > length + n_dealers:
            return "the average of some statistic is larger than 1"
        return None
    # [REJECT] The average update is no longer than clip_norm
    if not _is_within(total.update, length * Fraction(spec.clip_norm_micro, MICRO), n_dealers):
        return "the average update is longer than its clip norm"
    # [REJECT] Each dealer's gradient weight lies in 0..max_gradient_weight
    if not 0 <= total.gradient_weight <= n_dealers * spec.max_gradient_weight:
        return f"gradient weights of {n_dealers} members add up to {total.gradient_weight}"
    length = Fraction((MAX_MAGNITUDE - 1) * total.gradient_weight, spec.max_gradient_weight)
    # [REJECT] The average gradient is no longer than its clip norm
    if not _is_within(total.gradient, length, n_dealers):
        return "the average gradient is longer than its clip norm"
    return None


def average(total: SumOfPayloads, spec: TaskSpec, round_id: int) -> Reals:
    """(D,) weighted average of the updates, in their own unit, the same bits everywhere.

    One correctly rounded factor times each exact integer: two IEEE roundings, no order of summation.

    Raises:
        LocalError: the weights add up to nothing.
    """
    if total.weight < 1:
        raise LocalError(f"an average needs a positive weight, found {total.weight}")
    factor = Fraction(spec.max_weight, total.weight) / update_scale(spec, round_id)
    return total.update.astype(np.float64) * float(factor)


# --- arithmetic ---------------------------------------------------------------------------------------------


def _check_weight(weight: int, least: int, most: int) -> None:
    if not least <= weight <= most:
        raise LocalError(f"a weight lies in {least}..{most}, found {weight}")


def _checked(vector: Reals, size: int) -> Reals:
    vector = np.asarray(vector, dtype=np.float64)
    if vector.shape != (size,):
        raise LocalError(f"the vector has {size} numbers, found shape {vector.shape}")
    if chunks.length_of(vector) is None and not np.isfinite(vector).all():
        raise LocalError("the vector has numbers that are not finite")
    return vector


def _shrink(vector: Reals, clip_micro: int) -> float:
    """Factor that clips to an L2 norm of clip_micro * 1e-6; squares of the largest floats would overflow."""
    length = chunks.length_of(vector)
    if length is not None:
        return min(1.0, clip_micro / MICRO / length)
    largest = float(np.abs(vector).max())
    if largest == 0.0:
        return 1.0
    relative_norm = math.sqrt(sum(float(t @ t) for t in _tiles(vector / largest)))
    return min(1.0, clip_micro / MICRO / largest / relative_norm)


def _round(vector: Reals, factor: float, random_bytes: Callable[[int], bytes], words: Words) -> int:
    """Fill `words` with floor(vector * factor + u), u uniform in [0, 1) in steps of 2^-32; the sum of squares.

    Unbiased to within 2^-32.
    """
    squares = 0
    noise: Words = np.empty(min(_PIECE, len(vector)), dtype="<u4")
    for start in range(0, len(vector), _TILE):
        stream = ByteStream(random_bytes(SEED_BYTES))
        for first in range(start, min(start + _TILE, len(vector)), _PIECE):
            piece = vector[first : first + _PIECE]
            stream.fill(noise[: len(piece)].data.cast("B"))
            out = words[first : first + len(piece)]
            squares += chunks.round_stochastically(piece, factor, noise[: len(piece)], out)
    return squares


def _is_within(vector: Integers, length: Fraction, n_dealers: int) -> bool:
    """Whether |vector|_2 <= length + (sqrt(len(vector)) + 10) * sqrt(n_dealers) / 2, each root rounded up."""
    slack = (math.isqrt(len(vector)) + 11) * (math.isqrt(n_dealers) + 1)
    return _squared_norm(vector) <= (length + Fraction(slack, 2)) ** 2


def _squared_norm(vector: Integers) -> int:
    """Exact: 2^16 squares of 46 bits fit in 63."""
    return sum(int(tile @ tile) for tile in _tiles(vector))


def _tiles(vector: NDArray[_Number]) -> list[NDArray[_Number]]:
    return [vector[start : start + _TILE] for start in range(0, len(vector), _TILE)]
