from __future__ import annotations

import numpy as np
import pytest

from gossip.errors import LocalError, MalformedMessage
from gossip.field import Words
from gossip.layout import Layout
from gossip.parameters import MODULUS, Parameters
from gossip.prg import derive_seed
from gossip.proofs import Combination, check_share, proof_size, prove
from gossip.shamir import Dealing, deal, open_blob
from tests.helpers import plain_sharing as plain
from tests.helpers.words import Pieces

CHALLENGE = bytes(range(100, 132))


def some_dealing(n: int, words: int, dealer: int = 1) -> Dealing:
    layout = Layout(Parameters.of_size(n), words)
    payload = np.random.default_rng(words).integers(0, MODULUS, words).astype(np.uint32)
    return deal(payload, layout, dealer, bytes(range(32)))


def share_of(dealing: Dealing, holder: int) -> Words:
    return open_blob(dealing.blob(holder), dealing.layout, dealing.dealer, holder)


def agrees(dealing: Dealing, holder: int, share: Words, proof: bytes, attempt: int = 0) -> bool:
    return check_share(Pieces(share), proof, CHALLENGE, attempt, dealing.layout, holder)


@pytest.mark.parametrize("n", [3, 4, 8, 13, 16])
def test_every_share_of_an_honest_dealer_agrees_with_its_proof(n: int) -> None:
    dealing = some_dealing(n, words=19, dealer=n - 2)
    for attempt in (0, dealing.layout.parameters.max_attempts - 1):
        proof = prove(dealing, CHALLENGE, attempt)
        assert len(proof) == proof_size(dealing.layout)
        assert all(agrees(dealing, j, share_of(dealing, j), proof, attempt) for j in range(n))


@pytest.mark.parametrize("holder", [0, 2, 3])
def test_one_false_word_anywhere_in_a_share_is_caught(holder: int) -> None:
    dealing = some_dealing(8, words=150)
    proof, share = prove(dealing, CHALLENGE, 0), share_of(dealing, holder)
    checked = [*range(dealing.layout.blocks), *range(*dealing.layout.masks(0).indices(10**6))]
    for position in checked[::7] + checked[-1:]:
        false = share.copy()
        false[position] = (int(false[position]) + 1) % MODULUS
        assert not agrees(dealing, holder, false, proof)


def test_a_dealing_of_too_high_a_degree_is_caught_by_honest_holders() -> None:
    dealing = some_dealing(8, words=9)
    proof = prove(dealing, CHALLENGE, 0)
    caught = 0
    for holder in range(8):
        false = share_of(dealing, holder).copy()
        false[2] = (int(false[2]) + pow(holder + 1, 4, MODULUS)) % MODULUS
        caught += not agrees(dealing, holder, false, proof)
    assert caught == 8


def test_a_proof_holds_for_its_own_challenge_and_attempt_alone() -> None:
    dealing = some_dealing(4, words=9)
    proof, share = prove(dealing, CHALLENGE, 1), share_of(dealing, 0)
    assert agrees(dealing, 0, share, proof, attempt=1)
    assert not agrees(dealing, 0, share, proof, attempt=2)
    assert not check_share(Pieces(share), proof, CHALLENGE[::-1], 1, dealing.layout, 0)
    assert not check_share(Pieces(share), proof, CHALLENGE, 1, dealing.layout, 3)


def test_a_proof_is_the_masked_combination_in_coefficients() -> None:
    dealing = some_dealing(8, words=300)  # 150 blocks: one inner vector and a part of the next
    k = 2
    words = plain.decode(prove(dealing, CHALLENGE, 2))
    payload, masks = dealing.secrets.payload.tolist(), dealing.secrets.masks.tolist()
    drawn = plain.expand(derive_seed(CHALLENGE, b"challenge", 0), 6 * 130)
    for row in range(6):
        inner, outer = drawn[130 * row : 130 * row + 128], drawn[130 * row + 128 : 130 * row + 130]
        for slot in range(k):
            total = masks[(2 * 6 + row) * k + slot]
            for b in range(150):
                total += inner[b % 128] * outer[b // 128] * payload[b * k + slot]
            assert plain.horner(words[row * 4 : row * 4 + 4], -1 - slot) == total % MODULUS
    assert len(words) == 6 * 4


@pytest.mark.parametrize("blocks", [1, 127, 128, 129, 1000, 128 * 257 + 3])
def test_combinations_are_exact_at_the_largest_magnitudes(blocks: int) -> None:
    seed = bytes(16)
    words = np.full(blocks, MODULUS - 1, np.uint32)
    words[::3] = (MODULUS - 1) // 2
    words[1::5] = 0
    rows = -(-blocks // 128)
    drawn = plain.expand(seed, 2 * (128 + rows))
    expected = []
    for repetition in range(2):
        part = drawn[repetition * (128 + rows) :]
        outer = part[128 : 128 + rows]
        expected.append(sum(int(w) * part[b % 128] * outer[b // 128] for b, w in enumerate(words.tolist())) % MODULUS)
    assert Combination.from_seed(seed, blocks, repetitions=2).of(words).tolist() == expected


def test_fuzzed_proofs_are_refused_or_malformed() -> None:
    dealing = some_dealing(4, words=9)
    proof, share = prove(dealing, CHALLENGE, 0), share_of(dealing, 0)
    rng = np.random.default_rng(5)
    malformed = 0
    for _ in range(200):
        fuzzed = bytearray(proof)
        fuzzed[rng.integers(24)] ^= int(rng.integers(1, 256))
        if rng.random() < 0.3:
            fuzzed = fuzzed[: rng.integers(len(fuzzed))]
        if rng.random() < 0.3:
            fuzzed[:2], fuzzed[24:25] = b"\xff\xff", b"\xff"
        try:
            assert not agrees(dealing, 0, share, bytes(fuzzed))
        except MalformedMessage:
            malformed += 1
    assert malformed > 20


def test_a_proof_without_a_mask_is_never_made() -> None:
    dealing = some_dealing(4, words=9)
    for attempt in (-1, 4):
        with pytest.raises(LocalError):
            prove(dealing, CHALLENGE, attempt)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_challenge_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(LocalError):
        prove(some_dealing(4, words=9), bytes(size), 0)
