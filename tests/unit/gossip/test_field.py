from __future__ import annotations

import numpy as np
import pytest

from gossip.chunks import WIRE_CHUNK, decode_words, encode_words
from gossip.errors import LocalError, MalformedMessage
from gossip.field import centred, from_field, interpolate, reduce, to_field
from gossip.lagrange import basis
from gossip.parameters import MODULUS
from gossip.spec import HALF
from tests.helpers import plain_sharing as plain


def test_signed_integers_survive_the_field() -> None:
    values = np.array([-HALF, -1, 0, 1, HALF])
    assert from_field(to_field(values)).tolist() == values.tolist()
    assert to_field(values).tolist() == [HALF + 1, MODULUS - 1, 0, 1, HALF]


@pytest.mark.parametrize("value", [HALF + 1, -HALF - 1, 2**62, -(2**63)])
def test_an_integer_without_a_residue_is_refused(value: int) -> None:
    with pytest.raises(LocalError):
        to_field(np.array([0, value]))


def test_wire_form_is_low_halves_then_high_bytes() -> None:
    assert encode_words(np.array([0x030201, 0xFFFFFC], np.uint32)) == bytes.fromhex("0102 fcff 03 ff")


@pytest.mark.parametrize("count", [0, 1, WIRE_CHUNK, WIRE_CHUNK + 1, 2 * WIRE_CHUNK + 7])
def test_words_survive_the_wire(count: int) -> None:
    words = np.random.default_rng(count).integers(0, MODULUS, count).astype(np.uint32)
    data = encode_words(words)
    assert decode_words(data, count).tolist() == words.tolist() == plain.decode(data)


def test_a_stream_may_be_sent_chunk_by_chunk() -> None:
    words = np.random.default_rng(1).integers(0, MODULUS, WIRE_CHUNK + 5).astype(np.uint32)
    assert encode_words(words) == encode_words(words[:WIRE_CHUNK]) + encode_words(words[WIRE_CHUNK:])


@pytest.mark.parametrize("word", [MODULUS, MODULUS + 1, 2**24 - 1])
@pytest.mark.parametrize("position", [0, WIRE_CHUNK + 1])
def test_a_residue_that_is_not_canonical_is_refused(word: int, position: int) -> None:
    words = np.zeros(WIRE_CHUNK + 2, np.uint32)
    words[position] = word
    with pytest.raises(LocalError):
        encode_words(words)
    low, high = words.astype("<u2"), (words >> 16).astype(np.uint8)
    cut = WIRE_CHUNK
    data = low[:cut].tobytes() + high[:cut].tobytes() + low[cut:].tobytes() + high[cut:].tobytes()
    with pytest.raises(MalformedMessage):
        decode_words(data, len(words))


@pytest.mark.parametrize("size", [0, 5, 7, 600])
def test_words_of_another_size_are_refused(size: int) -> None:
    with pytest.raises(MalformedMessage):
        decode_words(bytes(size), 2)


def test_a_huge_claim_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(MalformedMessage):
        decode_words(b"abc", 2**60)


def test_reduction_is_exact_up_to_53_bits() -> None:
    rng = np.random.default_rng(2)
    quotients = [0, 1, -1, 2**28, -(2**28), *rng.integers(-(2**29) + 2, 2**29 - 2, 2000).tolist()]
    offsets = [0, 1, -1, HALF, HALF + 1, -HALF, -HALF - 1]
    numbers = [q * MODULUS + r for q in quotients for r in offsets]
    numbers += [2**53 - 2**24, -(2**53) + 2**24, *rng.integers(-(2**53) + 2**24, 2**53 - 2**24, 20_000).tolist()]
    found = reduce(np.array(numbers, dtype=np.float64))
    assert found.dtype == np.uint32
    assert found.tolist() == [number % MODULUS for number in numbers]


def test_centred_words_are_as_small_as_can_be() -> None:
    words = np.array([0, HALF, HALF + 1, MODULUS - 1], np.uint32)
    assert centred(words).tolist() == [0, HALF, -HALF, -1]


def test_interpolation_is_exact_at_the_largest_magnitudes() -> None:
    nodes, points = tuple(range(1, 33)), tuple(range(-16, 0))
    matrix = basis(nodes, points)
    rows = np.array([[0, MODULUS - 1, HALF, HALF + 1][i % 4] for i in range(32 * 9000)], np.uint32)
    rows = rows.reshape(32, 9000)
    found = interpolate(matrix, rows)
    exact = [[int(entry) for entry in row] for row in matrix]
    for column in (0, 1, 2, 8191, 8192, 8999):
        expected = [sum(a * int(b) for a, b in zip(r, rows[:, column], strict=True)) % MODULUS for r in exact]
        assert found[:, column].tolist() == expected
