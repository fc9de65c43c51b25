from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest

from gossip.errors import LocalError
from gossip.parameters import MODULUS
from gossip.prg import WordStreams, derive_seed, dither, expand, keystream
from tests.helpers import plain_sharing as plain

SEED = bytes(range(16))
EXPANDED = [14918086, 8140603, 13864839, 6521435]
STREAMED = "8cb899148f1fa8ff"
REJECTING_SEED, REJECTED_AT = (248).to_bytes(16, "big"), 1091


def test_words_are_those_of_an_independent_implementation() -> None:
    assert expand(SEED, 5000).tolist() == plain.expand(SEED, 5000)


def test_streams_are_fixed_for_ever() -> None:
    assert expand(SEED, 4).tolist() == EXPANDED
    assert keystream(SEED, 8).hex() == STREAMED


@pytest.mark.parametrize("cuts", [[1] * 40, [7, 0, 33], [39, 1], [40]])
def test_words_do_not_depend_on_chunks(cuts: list[int]) -> None:
    stream = WordStreams((SEED,))
    pieces = np.concatenate([stream.take(cut).words()[0] for cut in cuts])
    assert pieces.tolist() == expand(SEED, 40).tolist()


def test_a_rejected_word_is_replaced_alike_in_chunks_and_at_once() -> None:
    raw = dither(REJECTING_SEED, REJECTED_AT + 10)
    assert raw[REJECTED_AT] >= MODULUS
    whole = expand(REJECTING_SEED, REJECTED_AT + 10)
    stream = WordStreams((REJECTING_SEED,))
    pieces = [stream.take(size).words()[0] for size in (REJECTED_AT - 5, 3, 5, 7)]
    assert np.array_equal(np.concatenate(pieces), whole)
    redraw = int.from_bytes(plain.aes_stream(REJECTING_SEED, 2, 3), "little")
    assert whole[REJECTED_AT] == redraw < MODULUS
    whole[REJECTED_AT] = raw[REJECTED_AT]
    assert np.array_equal(whole, raw)


def test_rejected_words_take_replacements_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    # A modulus at which a tenth of all words are rejected stands for the three in 2^24.
    low_modulus = 15_000_000
    monkeypatch.setattr("gossip.prg.MODULUS", low_modulus)
    monkeypatch.setattr("gossip.chunks.MODULUS", low_modulus)
    monkeypatch.setattr(plain, "P", low_modulus)
    stream = WordStreams((SEED,))
    pieces = np.concatenate([stream.take(size).words()[0] for size in (100, 1, 99)])
    assert pieces.tolist() == plain.expand(SEED, 200) == expand(SEED, 200).tolist()


def test_words_are_spread_evenly() -> None:
    words = expand(SEED, 1 << 16)
    counts = np.bincount(words >> 16, minlength=256)
    chi_square = float(((counts - 256) ** 2 / 256).sum())
    assert chi_square < 350  # 255 degrees of freedom: above in 1 of 10^4 seeds


def test_seeds_are_hkdf_sha256() -> None:
    info = b"b" + (4).to_bytes(8, "big") + b"mask" + b"i" + (7).to_bytes(8, "big")
    key = hmac.digest(b"mycelia 1 seed", b"secret", hashlib.sha256)
    assert derive_seed(b"secret", b"mask", 7) == hmac.digest(key, info + b"\x01", hashlib.sha256)[:16]


def test_no_two_lists_of_labels_share_a_seed() -> None:
    lists: list[tuple[bytes | int, ...]] = [
        (), (b"",), (0,), (b"a", b"b"), (b"ab",), (b"a", 1), (1, b"a"), (1,), (b"\0" * 7 + b"\1",), (1, 0), (0, 1),
    ]  # fmt: skip
    assert len({derive_seed(b"secret", *labels) for labels in lists}) == len(lists)
    assert derive_seed(b"secret", b"a") != derive_seed(b"other", b"a")


@pytest.mark.parametrize("label", [-1, 2**64])
def test_a_label_out_of_range_is_refused(label: int) -> None:
    with pytest.raises(LocalError):
        derive_seed(b"secret", label)


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_seed_of_another_length_is_refused(size: int) -> None:
    for function in (expand, keystream, dither):
        with pytest.raises(LocalError):
            function(bytes(size), 1)
