"""What a member deals, as signed integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gossip import quantise
from gossip.field import Integers, Reals, from_field
from gossip.spec import TaskSpec


def quantise_update(
    update: Reals, weight: int, spec: TaskSpec, round_id: int, random_bytes: Callable[[int], bytes]
) -> Integers:
    """The integers whose residues `quantise.quantise_update` fills in."""
    words = np.empty(len(update), dtype=np.uint32)
    quantise.quantise_update(update, weight, spec, round_id, random_bytes, words)
    return from_field(words)


def quantise_gradient(gradient: Reals, weight: int, spec: TaskSpec, random_bytes: Callable[[int], bytes]) -> Integers:
    """The integers whose residues `quantise.quantise_gradient` fills in."""
    words = np.empty(len(gradient), dtype=np.uint32)
    quantise.quantise_gradient(gradient, weight, spec, random_bytes, words)
    return from_field(words)
