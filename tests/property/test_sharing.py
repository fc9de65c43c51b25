"""Exactness and privacy of sharing, through the code that a round runs, against plain Python integers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip import chunks, shamir
from gossip.chunks import Split, decode_words
from gossip.codeword import agree_on_sum
from gossip.field import Words, from_field, to_field
from gossip.layout import Layout
from gossip.parameters import CHECK_REPETITIONS, MODULUS, Parameters
from gossip.proofs import check_share, prove
from gossip.shamir import Dealing, PartialSum, Secrets, deal, open_blob, recombine
from gossip.spec import HALF
from sim.world import World
from tests.helpers import plain_sharing as plain
from tests.helpers.learners import KnownLearner, first_model, small_spec
from tests.helpers.words import Pieces

CHALLENGE = bytes(range(32))


def partial_sums(payloads: Sequence[np.ndarray], layout: Layout, seed: int) -> dict[int, Words]:
    """Each holder's sum of its shares of every payload, dealt by members 0, 1, ..."""
    rng = np.random.default_rng([seed, layout.parameters.n])
    dealings = [deal(to_field(x), layout, i, rng.bytes(32)) for i, x in enumerate(payloads)]
    sums = {j: PartialSum(layout, j) for j in range(layout.parameters.n)}
    for holder, partial_sum in sums.items():
        for dealing in dealings:
            partial_sum.add(dealing.dealer, dealing.blob(holder))
    return {holder: partial_sum.words() for holder, partial_sum in sums.items()}


def falsified(words: Words, rng: np.random.Generator) -> Words:
    false = words.copy()
    position = rng.integers(len(words))
    false[position] = (int(false[position]) + int(rng.integers(1, MODULUS))) % MODULUS
    return false


def assert_opens_to(sums: dict[int, Words], wrong: Iterable[int], expected: list[int], layout: Layout) -> None:
    """Every member decodes the expected sum and names the wrong holders, whichever good ones it uses."""
    agreement = agree_on_sum(sums, layout, bytes(range(7, 39)))
    assert agreement is not None
    assert agreement.wrong == tuple(sorted(wrong))
    threshold = layout.parameters.threshold
    for good in (agreement.good[:threshold], agreement.good[-threshold:]):
        assert from_field(recombine({j: sums[j] for j in good}, layout)).tolist() == expected


@pytest.mark.parametrize("n", range(3, 17))
def test_the_sum_is_exact_whatever_is_lost_or_false_within_the_tolerance(n: int) -> None:
    parameters = Parameters.of_size(n)
    layout = Layout(parameters, words=2 * parameters.pack_size + 1)
    rng = np.random.default_rng(n)
    payloads = rng.integers(-(HALF // n), HALF // n + 1, (n, layout.words))
    payloads[:, 0], payloads[:, 1] = HALF // n, -(HALF // n)  # nothing wraps at the largest magnitudes
    sums = partial_sums(payloads, layout, seed=1)
    expected = [sum(int(x) for x in column) for column in payloads.T]
    room = n - parameters.agreeing_sums
    for false in range(min(room, parameters.privacy_threshold) + 1):
        for lost in range(room - false + 1):
            order = rng.permutation(n).tolist()
            wrong, here = order[:false], order[: n - lost]
            given = {j: falsified(sums[j], rng) if j in wrong else sums[j] for j in here}
            assert_opens_to(given, wrong, expected, layout)


@pytest.mark.parametrize("n", [4, 5, 8])
def test_every_single_holder_may_be_lost_or_lie(n: int) -> None:
    layout = Layout(Parameters.of_size(n), 5)
    rng = np.random.default_rng(n)
    payloads = rng.integers(-1000, 1001, (3, 5))
    sums, expected = partial_sums(payloads, layout, seed=2), payloads.sum(axis=0).tolist()
    for holder in range(n):
        assert_opens_to({j: s for j, s in sums.items() if j != holder}, (), expected, layout)
        assert_opens_to({**sums, holder: falsified(sums[holder], rng)}, (holder,), expected, layout)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    n=st.integers(3, 24),
    values=st.lists(st.integers(-HALF, HALF), min_size=1, max_size=40),
    dealers=st.integers(1, 24),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_payload_survives_dealing_and_its_padding_changes_nothing(
    n: int, values: list[int], dealers: int, seed: int
) -> None:
    layout = Layout(Parameters.of_size(n), len(values))
    rows = [[(x + i) // (i + 2) for x in values] for i in range(min(n, dealers) - 1)]
    residues = [np.array([x % MODULUS for x in row], np.int64) for row in ([*rows, values])]
    payloads = [np.where(r > HALF, r - MODULUS, r) for r in residues]
    sums = partial_sums(payloads, layout, seed)
    holders = np.random.default_rng(seed).permutation(n)[: layout.parameters.threshold].tolist()
    found = recombine({j: sums[j] for j in holders}, layout)
    assert found.tolist() == [sum(column) % MODULUS for column in zip(*(r.tolist() for r in residues), strict=True)]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(n=st.integers(3, 16), words=st.integers(1, 300), seed=st.integers(0, 2**32 - 1))
def test_an_honest_dealer_is_never_refused_and_a_false_share_always(n: int, words: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layout = Layout(Parameters.of_size(n), words)
    dealer, attempt = int(rng.integers(n)), int(rng.integers(layout.parameters.max_attempts))
    dealing = deal(rng.integers(0, MODULUS, words).astype(np.uint32), layout, dealer, rng.bytes(32))
    challenge = rng.bytes(32)
    proof = prove(dealing, challenge, attempt)
    for holder in range(n):
        share = open_blob(dealing.blob(holder), layout, dealer, holder)
        assert check_share(Pieces(share), proof, challenge, attempt, layout, holder)
        share[: layout.blocks] = falsified(share[: layout.blocks], rng)
        assert not check_share(Pieces(share), proof, challenge, attempt, layout, holder)


# --- privacy: exact linear algebra ------------------------------------------------------------------------------------
# Seeds are replaced by independent uniform words, which AES makes of them if it is a pseudo-random function.  All that
# a dealing shows is then linear over the field in its secrets and its uniform words, and is probed unit by unit.


class UniformDealer:
    """A dealing as a linear function of (payload, masks, words of each seeded holder)."""

    def __init__(self, layout: Layout, dealer: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout, self.dealer = layout, dealer
        parameters = layout.parameters
        self.payload_size = layout.words
        self.mask_size = layout.mask_blocks * parameters.pack_size
        self.seeds = tuple(bytes([dealer, i]) for i in range(parameters.privacy_threshold))
        self.size = self.payload_size + self.mask_size + len(self.seeds) * layout.total_blocks
        self.words: dict[bytes, Words] = {}
        monkeypatch.setattr(shamir, "SEED_BYTES", 2)
        monkeypatch.setattr(shamir, "expand", self._expand)
        monkeypatch.setattr(shamir, "WordStreams", lambda seeds: self._Streams([self.words[seed] for seed in seeds]))

    class _Streams:
        def __init__(self, words: list[Words]) -> None:
            self.words = np.array(words)
            self.at = 0

        def take(self, count: int) -> Split:
            self.at += count
            return Split.of(self.words[:, self.at - count : self.at])

        def fill(self, words: Words) -> None:
            words[:] = self.take(words.shape[1]).words()

    def _expand(self, seed: bytes, count: int) -> Words:
        assert count == len(self.words[seed])
        return self.words[seed]

    def dealing(self, variables: Words) -> Dealing:
        total, start = self.layout.total_blocks, self.payload_size + self.mask_size
        for i, seed in enumerate(self.seeds):
            self.words[seed] = variables[start + i * total : start + (i + 1) * total]
        nonces = (bytes(16),) * self.layout.parameters.n
        payload, masks = variables[: self.payload_size], variables[self.payload_size : start]
        return Dealing(self.layout, self.dealer, Secrets(payload, masks, nonces, self.seeds))

    def matrix(self, view: Callable[[Dealing], Sequence[int]]) -> np.ndarray:
        """(numbers in view, variables): the view as a linear map, one unit vector after the other."""
        units = np.eye(self.size, dtype=np.uint32)
        return np.array([view(self.dealing(unit)) for unit in units], dtype=np.int64).T


def share_words(dealing: Dealing, holder: int) -> list[int]:
    return open_blob(dealing.blob(holder), dealing.layout, dealing.dealer, holder).tolist()


def proof_words(dealing: Dealing, attempt: int) -> list[int]:
    layout = dealing.layout
    proof = prove(dealing, bytes([attempt]) * 32, attempt)
    return decode_words(proof, CHECK_REPETITIONS * layout.parameters.threshold).tolist()


def rank(matrix: np.ndarray) -> int:
    """Rank modulo p, by elimination on whole rows."""
    left, found = matrix % MODULUS, 0
    for column in range(left.shape[1]):
        below = np.flatnonzero(left[found:, column])
        if not len(below):
            continue
        pivot = found + int(below[0])
        left[[found, pivot]] = left[[pivot, found]]
        left[found] = left[found] * pow(int(left[found, column]), -1, MODULUS) % MODULUS
        factors = left[found + 1 :, column : column + 1]
        left[found + 1 :] = (left[found + 1 :] - factors * left[found]) % MODULUS
        found += 1
        if found == len(left):
            break
    return found


def leaked(matrix: np.ndarray, secrets: int) -> int:
    """How many independent combinations of the first `secrets` variables a view determines."""
    return rank(matrix) - rank(matrix[:, secrets:])


def test_the_rank_is_the_plain_rank() -> None:
    rng = np.random.default_rng(0)
    for rows, columns, inner in ((5, 7, 3), (6, 4, 4), (8, 8, 7)):
        product = rng.integers(0, MODULUS, (rows, inner)) @ rng.integers(0, 2**16, (inner, columns)) % MODULUS
        assert rank(product) == plain.rank(product.tolist()) == inner


@pytest.mark.parametrize(("n", "words"), [(3, 3), (4, 3), (8, 5)])
def test_t_holders_and_every_proof_say_nothing_about_the_secrets(
    n: int, words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(Parameters.of_size(n), words)
    dealer = UniformDealer(layout, n - 1, monkeypatch)
    proofs = dealer.matrix(lambda d: proof_words(d, 0) + proof_words(d, 1))
    shares = [dealer.matrix(lambda d, j=j: share_words(d, j)) for j in range(n)]  # type: ignore[misc]
    t = layout.parameters.privacy_threshold
    coalitions = list(itertools.combinations(range(n), t))
    for coalition in coalitions:
        view = np.concatenate([proofs, *(shares[j] for j in coalition)])
        assert leaked(view, dealer.payload_size) == 0
    # One share more, and something leaks: the measure sees what there is to see.
    assert leaked(np.concatenate([proofs, *shares[: t + 1]]), dealer.payload_size) > 0
    assert leaked(np.concatenate([proofs, *shares]), dealer.payload_size) == dealer.payload_size


def test_one_mask_for_two_challenges_would_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    dealer = UniformDealer(Layout(Parameters.of_size(4), 3), 0, monkeypatch)

    def two_proofs(dealing: Dealing) -> list[int]:
        size = CHECK_REPETITIONS * dealing.layout.parameters.threshold
        return [w for c in (0, 1) for w in decode_words(prove(dealing, bytes([c]) * 32, 0), size).tolist()]

    assert leaked(dealer.matrix(two_proofs), dealer.payload_size) == 3


@pytest.mark.parametrize(("n", "words", "dealers"), [(4, 2, 3), (8, 3, 4)])
def test_all_partial_sums_beside_t_holders_reveal_the_sum_alone(
    n: int, words: int, dealers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(Parameters.of_size(n), words)
    t, coalition = layout.parameters.privacy_threshold, range(n - layout.parameters.privacy_threshold, n)
    views, sums, secrets = [], [], 0
    for index in range(dealers):
        dealer = UniformDealer(layout, index, monkeypatch)
        secrets = dealer.payload_size
        views.append(dealer.matrix(lambda d: proof_words(d, 0) + [w for j in coalition for w in share_words(d, j)]))
        sums.append(dealer.matrix(lambda d: [w for j in range(n) for w in share_words(d, j)[: d.layout.blocks]]))
    variables = views[0].shape[1]
    whole = np.zeros((len(views[0]) * dealers + len(sums[0]), variables * dealers), np.int64)
    for i, (view, partial) in enumerate(zip(views, sums, strict=True)):
        columns = slice(i * variables, (i + 1) * variables)
        whole[i * len(view) : (i + 1) * len(view), columns] = view
        whole[-len(partial) :, columns] = partial
    # secrets of all dealers first
    order = [i * variables + s for i in range(dealers) for s in range(secrets)]
    order += [i * variables + r for i in range(dealers) for r in range(secrets, variables)]
    assert t == len(coalition)
    assert leaked(whole[:, order], secrets * dealers) == secrets


# --- privacy: distribution ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", [1, 2, 3])
def test_shares_of_extreme_secrets_are_spread_alike(holder: int) -> None:
    # Holder 1 is seeded by dealer 0; the others are not.  Chi-square over 64 bins, 63 degrees of freedom: above 120
    # in 1 of 10^5 seeds.
    layout = Layout(Parameters.of_size(4), 40)
    for value in (0, HALF, MODULUS - 1):
        payload = np.full(layout.words, value, np.uint32)
        shares = np.concatenate([
            open_blob(deal(payload, layout, 0, seed.to_bytes(32, "big")).blob(holder), layout, 0, holder)
            for seed in range(150)
        ])  # fmt: skip
        counts = np.bincount(shares >> np.uint32(18), minlength=64)
        expected = len(shares) / 64
        assert len(counts) == 64
        assert float(((counts - expected) ** 2 / expected).sum()) < 120


def test_a_proof_of_extreme_secrets_is_spread_as_if_random() -> None:
    layout = Layout(Parameters.of_size(4), 40)
    payload = np.full(layout.words, MODULUS - 1, np.uint32)
    words = np.concatenate([
        np.array(proof_words(deal(payload, layout, 0, seed.to_bytes(32, "big")), 0)) for seed in range(400)
    ])  # fmt: skip
    counts = np.bincount(words >> 20, minlength=16)
    expected = len(words) / 16
    assert float(((counts - expected) ** 2 / expected).sum()) < 45  # 15 degrees of freedom: 1 in 10^4 seeds


# --- a whole run, compiled and plain


def test_a_large_model_comes_out_the_same_compiled_and_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small_spec(dimension=70_000)
    found = []
    for threshold in (1, 1 << 62):
        monkeypatch.setattr(chunks, "COMPILED_FROM", threshold)
        learners = [KnownLearner(spec, index) for index in range(4)]
        world = World(spec, learners, first_model(spec.dimension), seed=3).run(300)
        assert not world.blamed()
        found.append([node.results for node in world.nodes])
    assert found[0] == found[1]
    assert all(result.outcome == 1 and len(result.dealer_set) == 4 for result in found[0][0].values())
