"""The task that the consortium agreed on, as its registry publishes it: every number that all must share."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Final

import msgspec
from blake3 import blake3

from gossip.parameters import MAX_MEMBERS, MODULUS

MICRO: Final = 1_000_000
MAX_SPEC_BYTES: Final = 16_384
HALF: Final = (MODULUS - 1) // 2
"""Largest magnitude that a field element can stand for."""
MAX_WEIGHT: Final = HALF // MAX_MEMBERS
"""Largest bound on a weight: those of 64 members add up without wrapping."""


class RoundKind(IntEnum):
    """What the members deal in a round."""

    STATISTICS = 0
    """Means and mean squares of each feature, for standardisation; round 0."""
    TRAINING = 1
    """Updates of the shared parameters."""
    CLOSING = 2
    """Nothing but validation gradients, so that the last training round can be scored."""


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Consensus parameters of a task; its digest is part of everything that members sign.

    Attributes:
        task: what is learnt, in the task's own words (an identifier, never imported by itself).
        dimension: d, number of shared parameters.
        features: F, number of features that are standardised; 0 if the task standardises nothing.
        rounds: training rounds; round 0 is for statistics, round `rounds + 1` closes.
        clip_norm_micro: bound on the L2 norm of an update, in 1e-6.
        max_weight: bound on the sample count that weighs an update.
        gradient_clip_micro: bound on the L2 norm of a validation gradient, in 1e-6.
        max_gradient_weight: bound on the validation rows that weigh a gradient.
        initial_model: hex BLAKE3 digest of the model file before round 0.
        training: the task's own integer hyper-parameters, e.g. {"local_steps": 20}.
    """

    task: str
    dimension: int
    features: int
    rounds: int
    clip_norm_micro: int
    max_weight: int
    gradient_clip_micro: int
    max_gradient_weight: int
    initial_model: str
    training: dict[str, int] = {}

    def __post_init__(self) -> None:
        for name in ("dimension", "rounds", "clip_norm_micro", "max_weight",
                     "gradient_clip_micro", "max_gradient_weight"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, found {getattr(self, name)}")
        for name in ("max_weight", "max_gradient_weight"):
            if getattr(self, name) > MAX_WEIGHT:
                raise ValueError(f"{name} is at most {MAX_WEIGHT}, found {getattr(self, name)}")
        if self.features < 0:
            raise ValueError(f"features is at least 0, found {self.features}")
        if len(self.initial_model) != 64:
            raise ValueError(f"initial_model is a 32-byte digest in hex, found {self.initial_model!r}")

    def encode(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces."""
        return msgspec.json.encode(self, order="sorted")

    @classmethod
    def decode(cls, data: bytes) -> TaskSpec:
        """The spec in `data`.

        Raises:
            ValueError: not a spec, or not in its canonical form.
        """
        if len(data) > MAX_SPEC_BYTES:
            raise ValueError(f"a spec has at most {MAX_SPEC_BYTES} bytes, found {len(data)}")
        try:
            spec = msgspec.json.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not a task spec: {error}") from error
        if spec.encode() != data:
            raise ValueError("the spec is not in its canonical form")
        return spec

    @property
    def closing_round(self) -> int:
        return self.rounds + 1

    def kind(self, round_id: int) -> RoundKind:
        """What round `round_id` is for; rounds after the closing one are closing rounds as well."""
        if round_id == 0:
            return RoundKind.STATISTICS
        return RoundKind.TRAINING if round_id <= self.rounds else RoundKind.CLOSING

    def update_size(self, round_id: int) -> int:
        """Numbers in the first payload of a dealing: 2F statistics in round 0, else d."""
        if self.kind(round_id) is RoundKind.STATISTICS:
            return max(1, 2 * self.features)
        return self.dimension

    def clip_micro(self, round_id: int) -> int:
        """L2 bound of the first payload, in 1e-6.

        Statistics are means of features scaled to [-1, 1] and of their squares: 2F numbers of at most 1.
        """
        if self.kind(round_id) is RoundKind.STATISTICS:
            return (math.isqrt(max(1, 2 * self.features)) + 1) * MICRO
        return self.clip_norm_micro


def digest(domain: str, *parts: bytes | memoryview) -> bytes:
    """BLAKE3 over `parts`, each preceded by its length, under a domain of its own; 32 bytes."""
    hasher = blake3(derive_key_context=f"mycelia 1 {domain}")
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()


def hasher(domain: str, size: int) -> blake3:
    """`digest(domain, part)` of one part of `size` bytes, in the making: `update` takes the part piece by piece."""
    return blake3(derive_key_context=f"mycelia 1 {domain}").update(size.to_bytes(8, "big"))


def blob_hasher(size: int) -> blake3:
    """`blob_digest` of `size` bytes in the making."""
    return hasher("blob", size)


def blob_digest(data: bytes | memoryview) -> bytes:
    """What shares, partial sums and model files are named and fetched by; 32 bytes."""
    return digest("blob", data)
