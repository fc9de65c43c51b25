"""A hundred million words: dealt, sent, checked, added up and rebuilt piece by piece, with nothing beside them."""

from __future__ import annotations

import mmap
import resource
from pathlib import Path

import numpy as np
import pytest

from gossip.layout import Layout
from gossip.parameters import MODULUS, Parameters
from gossip.proofs import check_share, prove
from gossip.shamir import PartialSum, blob_size, deal, read_blob, recombine
from gossip.spec import blob_hasher

WORDS, DEALER, CHALLENGE = 100_000_000, 0, bytes(32)


def highest_megabytes() -> float:
    """Most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.slow
def test_a_hundred_million_words_survive_in_a_workspace_that_does_not_grow(tmp_path: Path) -> None:
    layout = Layout(Parameters.of_size(4), WORDS)
    payload = np.arange(WORDS, dtype=np.uint32)
    payload %= np.uint32(MODULUS)
    few = deal(payload[:300_000], Layout(Parameters.of_size(4), 300_000), DEALER, bytes(32))
    assert few.digests  # loads the compiled loops, as does the next line
    assert prove(few, CHALLENGE, 0)
    before = highest_megabytes()
    dealing = deal(payload, layout, DEALER, bytes(32))
    names, proof = dealing.digests, prove(dealing, CHALLENGE, 0)
    # The challenge's coefficients take 0.19 bytes a block; a share would be 300 MB.
    assert highest_megabytes() - before < 60
    sums = {}
    for holder in range(layout.parameters.threshold):
        hasher, path = blob_hasher(blob_size(layout, DEALER, holder)), tmp_path / str(holder)
        with path.open("wb") as file:
            for piece in dealing.blob_chunks(holder):
                hasher.update(piece)
                file.write(piece)
        assert hasher.digest() == names[holder]
        with path.open("rb") as file:
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        assert check_share(read_blob(view, layout, DEALER, holder), proof, CHALLENGE, 0, layout, holder)
        partial_sum = PartialSum(layout, holder)
        for _ in range(2):
            partial_sum.add(DEALER, view)
        sums[holder] = partial_sum.words()
        path.unlink()
    assert np.array_equal(recombine(sums, layout), payload * np.uint32(2) % np.uint32(MODULUS))
