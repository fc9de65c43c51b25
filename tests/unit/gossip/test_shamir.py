from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gossip import shamir
from gossip.chunks import WIRE_CHUNK, WORD_BYTES, encode_words
from gossip.errors import LocalError, MalformedMessage
from gossip.field import Words
from gossip.layout import Layout
from gossip.parameters import MODULUS, Parameters
from gossip.shamir import PREFIX_BYTES, Dealing, PartialSum, blob_size, deal, is_blob, open_blob, recombine
from gossip.spec import blob_digest
from tests.helpers import plain_sharing as plain

SEED = bytes(range(32))


def some_payload(layout: Layout, seed: int = 0) -> Words:
    return np.random.default_rng(seed).integers(0, MODULUS, layout.words).astype(np.uint32)


def some_dealing(n: int = 8, words: int = 21, dealer: int = 6) -> Dealing:
    layout = Layout(Parameters.of_size(n), words)
    return deal(some_payload(layout), layout, dealer, SEED)


@pytest.mark.parametrize("n", [3, 4, 5, 8, 11, 16, 64])
def test_every_share_lies_on_the_polynomial_of_its_block(n: int) -> None:
    dealing = some_dealing(n, words=37, dealer=n - 1)
    layout, k = dealing.layout, dealing.layout.parameters.pack_size
    shares = [open_blob(dealing.blob(j), layout, n - 1, j) for j in range(n)]
    secrets = dealing.secrets.payload.tolist() + [0] * (layout.blocks * k - layout.words)
    secrets += dealing.secrets.masks.tolist()
    for block in (0, layout.blocks - 1, layout.total_blocks - 1):
        points = {-1 - i: secrets[block * k + i] for i in range(k)}
        for holder in layout.parameters.seeded_holders(n - 1):
            points[holder + 1] = int(shares[holder][block])
        assert len(points) == layout.parameters.threshold
        assert [int(share[block]) for share in shares] == [plain.evaluate(points, j + 1) for j in range(n)]


def test_seeded_holders_get_a_seed_and_its_words_are_their_share() -> None:
    dealing = some_dealing()
    assert dealing.layout.parameters.seeded_holders(6) == (7, 0)
    for holder in (7, 0):
        blob = dealing.blob(holder)
        assert len(blob) == PREFIX_BYTES + 16
        assert open_blob(blob, dealing.layout, 6, holder).tolist() == plain.expand(
            blob[PREFIX_BYTES:], dealing.layout.total_blocks
        )


def test_the_same_arguments_give_the_same_bytes_and_a_fresh_seed_others() -> None:
    first, again = some_dealing(), some_dealing()
    other = deal(first.secrets.payload, first.layout, 6, SEED[::-1])
    moved = deal(first.secrets.payload, first.layout, 5, SEED)
    for holder in range(8):
        assert first.blob(holder) == again.blob(holder)
        assert len({first.blob(holder), other.blob(holder), moved.blob(holder)}) == 3


def test_no_two_holders_share_a_nonce() -> None:
    assert len({some_dealing().blob(j)[3:PREFIX_BYTES] for j in range(8)}) == 8


def test_equal_shares_have_different_digests() -> None:
    # Unsalted, a digest would confirm a guess of the share to whoever can guess it.
    layout = Layout(Parameters.of_size(4), 3)
    payload = np.zeros(3, np.uint32)
    digests = {deal(payload, layout, 0, bytes([i]) * 32).digests[2] for i in range(5)}
    assert len(digests) == 5


def test_a_digest_is_that_of_the_blob() -> None:
    dealing = some_dealing()
    assert dealing.digests == tuple(blob_digest(dealing.blob(j)) for j in range(8))


def test_a_dealing_too_large_to_keep_is_the_same_dealing(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = some_dealing(words=50)
    bodies = [kept.blob(j)[PREFIX_BYTES:] for j in (1, 2)]
    monkeypatch.setattr(shamir, "KEPT_BLOCKS", 0)
    monkeypatch.setattr(shamir, "WIRE_CHUNK", 17)  # cuts inside payload, at the border and inside the masks
    streamed = some_dealing(words=50)
    shares = [np.concatenate([share.words()[0] for share in streamed.share_chunks((j,))]) for j in (1, 2)]
    assert [encode_words(share) for share in shares] == bodies


def test_a_dealing_of_several_chunks_streams_the_bytes_that_it_digests() -> None:
    layout = Layout(Parameters.of_size(4), WIRE_CHUNK + 3)
    dealing = deal(some_payload(layout), layout, 1, SEED)
    blobs = [dealing.blob(j) for j in range(4)]
    assert dealing.digests == tuple(blob_digest(blob) for blob in blobs)
    assert [len(blob) for blob in blobs] == [blob_size(layout, 1, j) for j in range(4)]
    shares = {j: open_blob(blobs[j], layout, 1, j)[: layout.blocks] for j in (0, 2)}
    assert np.array_equal(recombine(shares, layout), dealing.secrets.payload)


def test_a_blob_says_whose_share_it_is_and_is_nobody_elses() -> None:
    """A dealer that could pass another's share for its own would have it published by complaining of itself."""
    dealing = some_dealing()
    for holder in range(8):
        blob = dealing.blob(holder)
        assert is_blob(blob, dealing.layout, 6, holder)
        for dealer, other in ((5, holder), (6, (holder + 1) % 8)):
            assert not is_blob(blob, dealing.layout, dealer, other)
            with pytest.raises(MalformedMessage):
                open_blob(blob, dealing.layout, dealer, other)


@pytest.mark.parametrize("n", [3, 4, 8, 64])
def test_no_blob_is_as_long_as_any_sum(n: int) -> None:
    for words in range(1, 40):
        layout = Layout(Parameters.of_size(n), words)
        assert all(blob_size(layout, 0, holder) % WORD_BYTES for holder in range(n))


def test_mask_blocks_are_fresh_in_every_dealing() -> None:
    first, second = some_dealing(), some_dealing(dealer=5)
    assert len(first.secrets.masks) == first.layout.mask_blocks * 2
    assert not np.array_equal(first.secrets.masks, second.secrets.masks)


def test_sum_of_a_full_committee_does_not_overflow() -> None:
    layout = Layout(Parameters.of_size(64), 4)
    partial_sum, blob = (
        PartialSum(layout, 63),
        bytes([1, 0, 63]) + bytes(16) + encode_words(np.full(layout.total_blocks, MODULUS - 1, np.uint32)),
    )
    for _ in range(64):
        partial_sum.add(0, blob)
    assert partial_sum.words().tolist() == [MODULUS - 64] * layout.blocks
    with pytest.raises(LocalError):
        partial_sum.add(0, blob)


def test_nothing_is_the_sum_of_no_shares() -> None:
    assert PartialSum(Layout(Parameters.of_size(4), 4), 0).words().tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("holder", [0, 2])
def test_a_partial_sum_is_that_of_the_opened_shares(holder: int) -> None:
    dealings = [some_dealing(dealer=dealer) for dealer in range(8)]
    partial_sum = PartialSum(dealings[0].layout, holder)
    for dealing in dealings:
        partial_sum.add(dealing.dealer, dealing.blob(holder))
    opened = [open_blob(d.blob(holder), d.layout, d.dealer, holder)[: d.layout.blocks].astype(int) for d in dealings]
    assert partial_sum.words().tolist() == (sum(opened) % MODULUS).tolist()


def test_padding_never_changes_a_sum() -> None:
    layout = Layout(Parameters.of_size(16), 5)  # k = 4: three words of padding
    padded = Layout(Parameters.of_size(16), 8)
    payload = some_payload(padded)
    dealing = deal(payload, padded, 2, SEED)  # a dealer that fills its padding with what it likes
    shares = {j: open_blob(dealing.blob(j), padded, 2, j)[:2] for j in range(8)}
    assert recombine(shares, layout).tolist() == payload[:5].tolist()


@pytest.mark.parametrize("change", [b"", b"x"])
def test_a_blob_of_another_size_is_refused(change: bytes) -> None:
    dealing = some_dealing()
    for holder in (0, 1):
        blob = dealing.blob(holder)
        with pytest.raises(MalformedMessage):
            open_blob(blob + b"x" if change else blob[:-1], dealing.layout, 6, holder)


def test_fuzzed_blobs_give_the_typed_error_or_canonical_words() -> None:
    dealing = some_dealing()
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        blob = bytearray(dealing.blob(1))
        for position in rng.integers(0, len(blob), 4):
            blob[position] = rng.choice([0, 255, int(rng.integers(256))])
        if rng.random() < 0.2:
            blob = blob[: rng.integers(len(blob))]
        if rng.random() < 0.2:  # a word that no residue stands for
            count = dealing.layout.total_blocks
            blob[16:18], blob[16 + 2 * count : 17 + 2 * count] = b"\xfe\xff", b"\xff"
        try:
            words = open_blob(bytes(blob), dealing.layout, 6, 1)
        except MalformedMessage:
            refused += 1
        else:
            assert int(words.max()) < MODULUS
    assert refused > 30


@pytest.mark.parametrize("words", [20, 22])
def test_a_payload_of_another_length_is_refused(words: int) -> None:
    layout = Layout(Parameters.of_size(8), 21)
    with pytest.raises(LocalError):
        deal(np.zeros(words, np.uint32), layout, 0, SEED)


def test_a_payload_that_is_not_canonical_is_refused() -> None:
    layout = Layout(Parameters.of_size(8), 2)
    with pytest.raises(LocalError):
        deal(np.array([0, MODULUS], np.uint32), layout, 0, SEED)
    with pytest.raises(LocalError):
        deal(np.array([0, 1], np.int64), layout, 0, SEED)  # type: ignore[arg-type]


@pytest.mark.parametrize("member", [-1, 8])
def test_an_unknown_member_is_refused(member: int) -> None:
    dealing = some_dealing()
    with pytest.raises(LocalError):
        dealing.blob(member)
    with pytest.raises(LocalError):
        blob_size(dealing.layout, member, 0)
    with pytest.raises(LocalError):
        deal(dealing.secrets.payload, dealing.layout, member, SEED)


def test_a_short_seed_is_refused() -> None:
    layout = Layout(Parameters.of_size(4), 1)
    with pytest.raises(LocalError):
        deal(np.zeros(1, np.uint32), layout, 0, bytes(16))


def test_recombining_takes_exactly_the_threshold() -> None:
    layout = Layout(Parameters.of_size(8), 4)
    sums = {j: np.zeros(2, np.uint32) for j in range(5)}
    for holders in ((0, 1, 2), (0, 1, 2, 3, 4)):
        with pytest.raises(LocalError):
            recombine({j: sums[j] for j in holders}, layout)
    with pytest.raises(LocalError):
        recombine({**{j: sums[j] for j in range(3)}, 9: sums[0]}, layout)
    with pytest.raises(LocalError):
        recombine({**{j: sums[j] for j in range(3)}, 3: np.zeros(3, np.uint32)}, layout)


def test_who_guesses_an_update_is_not_told_by_a_share_digest_that_the_guess_is_right() -> None:
    """Protocol analysis, P9: t colluders with a right guess can compute every share, and its digest if it were bare."""
    dealt = some_dealing()
    guess = Dealing(dealt.layout, dealt.dealer, replace(dealt.secrets, nonces=(bytes(16),) * 8))
    for holder in range(8):
        assert guess.blob(holder)[PREFIX_BYTES:] == dealt.blob(holder)[PREFIX_BYTES:]
        assert guess.digests[holder] != dealt.digests[holder]
    assert len(set(dealt.secrets.nonces)) == 8
