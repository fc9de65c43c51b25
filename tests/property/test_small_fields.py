"""Privacy by enumeration: in small fields t holders see every combination once, whatever the secrets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
import pytest

from gossip import field, lagrange
from gossip.lagrange import basis, holder_point
from gossip.layout import Layout
from gossip.parameters import Parameters
from gossip.shamir import dealer_nodes

CASES = [(3, 7), (4, 7), (5, 11), (7, 11), (8, 13), (9, 13)]


@pytest.fixture
def small_field(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The production's Lagrange bases over a field of p elements."""
    p = int(request.param)
    caches = (lagrange.inverse, lagrange.basis)
    for cache in caches:
        cache.cache_clear()
    for module in (field, lagrange):
        monkeypatch.setattr(module, "MODULUS", p)
    monkeypatch.setattr(field, "HALF", p // 2)
    yield p
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize(("n", "small_field"), CASES, indirect=["small_field"])
def test_what_t_holders_see_is_the_same_for_every_secret(n: int, small_field: int) -> None:
    p = small_field
    layout = Layout(Parameters.of_size(n), 1)
    t, k = layout.parameters.privacy_threshold, layout.parameters.pack_size
    dealer = 1
    matrix = basis(dealer_nodes(layout, dealer), tuple(holder_point(j) for j in range(n))).astype(np.int64)
    random = np.array(list(product(range(p), repeat=t))).T  # (t, p^t): what the seeds stand for, uniform
    for secrets in product(range(p), repeat=k):
        values = np.concatenate([np.repeat(np.array(secrets)[:, None], random.shape[1], axis=1), random])
        shares = matrix @ values % p  # (n, p^t)
        for holders in combinations(range(n), t):
            seen = {tuple(view) for view in shares[list(holders)].T.tolist()}
            assert len(seen) == p**t, f"holders {holders} learn something of {secrets}"


@pytest.mark.parametrize(("n", "small_field"), CASES, indirect=["small_field"])
def test_one_holder_more_learns_something(n: int, small_field: int) -> None:
    """The bound is sharp: t + 1 shares are not independent of the secrets, so the test above can fail."""
    p = small_field
    layout = Layout(Parameters.of_size(n), 1)
    t, k = layout.parameters.privacy_threshold, layout.parameters.pack_size
    matrix = basis(dealer_nodes(layout, 1), tuple(holder_point(j) for j in range(n))).astype(np.int64)
    random = np.array(list(product(range(p), repeat=t))).T
    views = []
    for secrets in ((0,) * k, (1,) + (0,) * (k - 1)):
        values = np.concatenate([np.repeat(np.array(secrets)[:, None], random.shape[1], axis=1), random])
        views.append({tuple(view) for view in (matrix @ values % p)[: t + 1].T.tolist()})
    assert views[0] != views[1]
