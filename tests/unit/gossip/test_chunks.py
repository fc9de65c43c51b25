"""The compiled loops and plain numpy give the same bytes, whatever the committee, the size and the values."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

import numpy as np
import pytest

from gossip import chunks
from gossip.chunks import WIRE_CHUNK, Split, decode_words, encode_words
from gossip.errors import LocalError, MalformedMessage
from gossip.field import from_field
from gossip.lagrange import basis, holder_point
from gossip.layout import Layout
from gossip.parameters import MODULUS, Parameters
from gossip.proofs import INNER, Combination, prove
from gossip.shamir import PartialSum, deal, recombine
from gossip.spec import HALF

pytest.importorskip("numba", reason="numba has no wheel for this platform")

_T = TypeVar("_T")
EXTREMES = np.array([0, 1, MODULUS // 2, MODULUS // 2 + 1, MODULUS - 1], dtype=np.uint32)


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], _T]], tuple[_T, _T]]:
    """The outcome of a call with the compiled loops, and without them."""

    def call(make: Callable[[], _T]) -> tuple[_T, _T]:
        monkeypatch.setattr(chunks, "COMPILED_FROM", 0)
        compiled = make()
        monkeypatch.setattr(chunks, "COMPILED_FROM", 1 << 62)
        return compiled, make()

    return call


def round_to(values: np.ndarray) -> np.ndarray:
    """Residues of integers given as floats."""
    words = np.empty(len(values), dtype=np.uint32)
    chunks.round_stochastically(values, 1.0, np.zeros(len(values), dtype=np.uint32), words)
    return words


def some_words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Uniform words, some of them at the ends of the range."""
    words = rng.integers(0, MODULUS, shape, dtype=np.uint32)
    return np.where(rng.random(shape) < 0.1, rng.choice(EXTREMES, shape), words).astype(np.uint32)


@pytest.mark.parametrize("count", [1, 511, 512, 9000])
@pytest.mark.parametrize("n", [3, 4, 7, 11, 16, 32, 64])
def test_shares_and_what_is_recombined_from_them(n: int, count: int, both: Callable[..., tuple[Split, Split]]) -> None:
    rng = np.random.default_rng([n, count])
    parameters = Parameters.of_size(n)
    t, k = parameters.privacy_threshold, parameters.pack_size
    nodes = tuple(-1 - slot for slot in range(k)) + tuple(holder_point(j) for j in range(t))
    points = tuple(holder_point(j) for j in range(t, n))
    secrets, streams = some_words(rng, count * k), Split.of(some_words(rng, t, count))

    def shares() -> Split:
        found = Split.empty(n - t, count)
        chunks.share(secrets, streams, basis(nodes, points), found)
        return found

    compiled, plain = both(shares)
    assert np.array_equal(compiled.low, plain.low)
    assert np.array_equal(compiled.high, plain.high)
    if n - t < t + k:
        return  # n = 3: a seeded holder is needed as well

    def recombined() -> np.ndarray:
        found = np.empty_like(secrets)
        chunks.recombine(list(plain.words()[: t + k]), basis(points[: t + k], nodes[:k]), found)
        return found

    assert all(np.array_equal(found, secrets) for found in both(recombined))


@pytest.mark.parametrize("count", [1, 127, 128, 129, 5000])
def test_combinations(count: int, both: Callable[..., tuple[list[int], list[int]]]) -> None:
    words = some_words(np.random.default_rng(count), count)
    compiled, plain = both(lambda: Combination.from_seed(bytes(16), count).of(words).tolist())
    assert compiled == plain


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 127, 128 * 5 + 1, 128 * 128, 128 * 130 + 77])
def test_combinations_of_several_rows_at_the_largest_magnitudes(
    rows: int, count: int, both: Callable[..., tuple[list[int], list[int]]]
) -> None:
    rng = np.random.default_rng([rows, count])
    words = rng.choice(EXTREMES[[0, 4]], (rows, count))
    outer = rng.choice([-HALF, HALF], (-(-count // INNER), 6)).astype(np.int32)

    def run() -> list[int]:
        totals = np.zeros((rows, 6, INNER))
        chunks.combine(words, outer, totals)
        chunks.combine(words[:, ::-1], outer, totals)
        return (totals.astype(np.int64) % MODULUS).tolist()

    compiled, plain = both(run)
    moved = np.zeros((2, rows, len(outer) * INNER), dtype=object)
    moved[0, :, :count] = words.astype(int) - HALF
    moved[1, :, :count] = words[:, ::-1].astype(int) - HALF
    exact = [row.reshape(-1, INNER).T @ outer.astype(object) for row in moved.sum(axis=0)]
    assert compiled == plain == [(row.T % MODULUS).tolist() for row in exact]


def test_the_wire_form_of_words(both: Callable[..., tuple[list[int], list[int]]]) -> None:
    words = some_words(np.random.default_rng(1), WIRE_CHUNK + 77)
    data = encode_words(words)
    assert both(lambda: decode_words(data, len(words)).tolist()) == (words.tolist(),) * 2


@pytest.mark.parametrize("word", [MODULUS, MODULUS + 1, 2**24 - 1])
@pytest.mark.parametrize("threshold", [0, 1 << 62], ids=["compiled", "plain"])
def test_a_word_that_is_not_canonical_is_refused(word: int, threshold: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "COMPILED_FROM", threshold)
    split = Split.of(np.array([5, word, 7], dtype=np.uint32))
    with pytest.raises(MalformedMessage):
        decode_words(split.low.tobytes() + split.high.tobytes(), 3)
    with pytest.raises(MalformedMessage):
        chunks.add(split, np.zeros(3, dtype=np.uint32))
    assert chunks.rejected(Split.of(np.array([[1, 2], [3, word]], dtype=np.uint32))) == [(1, 1)]
    with pytest.raises(LocalError):
        encode_words(np.array([word], dtype=np.uint32))


@pytest.mark.parametrize("n", [3, 5, 16])
def test_a_whole_dealing(n: int, both: Callable[..., tuple[list[bytes], list[bytes]]]) -> None:
    layout = Layout(Parameters.of_size(n), 40_000)
    payload = some_words(np.random.default_rng(n), layout.words)

    def run() -> list[bytes]:
        dealing = deal(payload, layout, 1, bytes(range(32)))
        sums = {}
        for holder in range(layout.parameters.threshold):
            partial_sum = PartialSum(layout, holder)
            partial_sum.add(1, dealing.blob(holder))
            sums[holder] = partial_sum.words()
        whole = recombine(sums, layout)
        return [*(dealing.blob(j) for j in range(n)), *dealing.digests, prove(dealing, bytes(32), 0), whole.tobytes()]

    compiled, plain = both(run)
    assert compiled == plain
    assert plain[-1] == payload.tobytes()


@pytest.mark.parametrize("count", [1, 5000])
def test_sums_become_canonical(count: int, both: Callable[..., tuple[list[int], list[int]]]) -> None:
    rng = np.random.default_rng(count)
    edges = [0, 1, *(m * MODULUS + e for m in (1, 5, 63) for e in (-1, 0, 1)), 64 * (MODULUS - 1)]
    sums = np.concatenate([np.array(edges, dtype=np.uint32), rng.integers(0, 64 * MODULUS, count, dtype=np.uint32)])

    def run() -> list[int]:
        found = sums.copy()
        chunks.make_canonical(found)
        return found.tolist()

    compiled, plain = both(run)
    assert compiled == plain == [value % MODULUS for value in sums.tolist()]


@pytest.mark.parametrize("count", [1, 1000, 1 << 16])
def test_rounding_and_its_squares(count: int, both: Callable[..., tuple[list[int], list[int]]]) -> None:
    rng = np.random.default_rng(count)
    values, noise = rng.standard_normal(count), rng.integers(0, 1 << 32, count, dtype=np.uint32)

    def run() -> list[int]:
        words = np.empty(count, dtype=np.uint32)
        squares = chunks.round_stochastically(values, 3e4, noise, words)
        assert squares == sum(int(x) ** 2 for x in from_field(words))
        return [*words.tolist(), squares]

    compiled, plain = both(run)
    assert compiled == plain
    exact = [
        math.floor(Fraction(x * 3e4) + Fraction(int(u), 1 << 32)) % MODULUS for x, u in zip(values, noise, strict=True)
    ]
    assert sum(a != b for a, b in zip(plain[:-1], exact, strict=True)) <= 2  # the sum is rounded once more


@pytest.mark.parametrize("threshold", [0, 1 << 62], ids=["compiled", "plain"])
@pytest.mark.parametrize("value", [HALF + 1.0, -HALF - 1.0, 2.0**31, 2.0**40, -(2.0**40), np.inf, np.nan])
def test_an_integer_without_a_residue_is_refused(value: float, threshold: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "COMPILED_FROM", threshold)
    with pytest.raises(LocalError):
        round_to(np.array([3.0, value, -3.0]))
    assert round_to(np.array([3.0, HALF, -HALF])).tolist() == [3, HALF, HALF + 1]


@pytest.mark.parametrize("threshold", [0, 1 << 62], ids=["compiled", "plain"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e200, 1e-200])
def test_a_length_that_cannot_be_told_is_not_told(
    value: float, threshold: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "COMPILED_FROM", threshold)
    assert chunks.length_of(np.array([value, value])) is None
    assert chunks.length_of(np.array([3.0, 4.0])) == 5.0
