"""Systematic, seeded, packed Shamir sharing: a payload in, one blob per holder out, and the sum of many back.

A block's polynomial has degree t + k - 1 and is fixed by its k secrets at x = -1 .. -k and by the shares of
the t seeded holders, which are expanded from seeds: those holders receive 16 bytes instead of a share.  Any
t shares are independent of the secrets; t + k of them fix everything.  Source: secure-aggregation.md, 1
(Franklin, Yung 1992).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
from blake3 import blake3

from gossip import chunks
from gossip.chunks import SHARED, WIRE_CHUNK, WORD_BYTES, Split, WireWords
from gossip.errors import LocalError, MalformedMessage
from gossip.field import Reals, Words
from gossip.lagrange import basis, holder_point
from gossip.layout import Layout
from gossip.parameters import MAX_MEMBERS, MODULUS
from gossip.prg import SEED_BYTES, WordStreams, derive_seed, expand, keystream
from gossip.spec import blob_digest

NONCE_BYTES: Final = 16
FORMAT: Final = 1
PREFIX_BYTES: Final = 3 + NONCE_BYTES
"""Format, dealer, holder, and 16 random bytes: no dealer can pass another's share for one of its own, since its digest
covers whose it is.  No blob's length is a multiple of 3, so that none can be asked for as a sum."""
DEAL_SEED_BYTES: Final = 32
KEPT_BLOCKS: Final = 8_192
"""A dealing of at most so many blocks keeps its blobs; a larger one computes each when it is asked for."""


@dataclass(frozen=True)
class Secrets:
    """All that a dealing follows from; nothing of it may be shown, logged or reused.

    Attributes:
        payload: (words,) canonical, before padding.
        masks: (mask_blocks * k,) uniform words, block by block.
        nonces: 16 bytes per holder, so that the digest of a share confirms no guess of it.
        seeds: per seeded holder its 16 bytes, in the order of `Parameters.seeded_holders`.
    """

    payload: Words
    masks: Words
    nonces: tuple[bytes, ...]
    seeds: tuple[bytes, ...]


class WordSource(Protocol):
    """Words in one or more rows, read piece by piece."""

    def take(self, count: int) -> Words:
        """The next words, (rows, count); the next call may overwrite them."""


class Dealing:
    """One member's payload, shared: a blob and a digest per holder."""

    def __init__(self, layout: Layout, dealer: int, secrets: Secrets) -> None:
        self.layout = layout
        self.dealer = dealer
        self.secrets = secrets

    @cached_property
    def digests(self) -> tuple[bytes, ...]:
        """Per holder the digest of its blob, as `spec.blob_digest`; all in one pass over the payload."""
        if self.layout.total_blocks <= KEPT_BLOCKS:
            return tuple(blob_digest(blob) for blob in self._blobs)
        parameters = self.layout.parameters
        hashers = [_hasher(blob_size(self.layout, self.dealer, j)) for j in range(parameters.n)]
        for holder, hasher in enumerate(hashers):
            hasher.update(self._prefix(holder))
        for holder, seed in zip(parameters.seeded_holders(self.dealer), self.secrets.seeds, strict=True):
            hashers[holder].update(seed)
        holders = unseeded_holders(self.layout, self.dealer)
        for shares in self.share_chunks(holders):
            for row, holder in enumerate(holders):
                for piece in shares.row(row):
                    hashers[holder].update(piece)
        return tuple(hasher.digest() for hasher in hashers)

    def blob(self, holder: int) -> bytes:
        """What `holder` is sent: whose share it is, 16 random bytes, then its seed or its share."""
        _check_member(self.layout, holder)
        if self.layout.total_blocks <= KEPT_BLOCKS:
            return self._blobs[holder]
        return b"".join(self.blob_chunks(holder))

    def blob_chunks(self, holder: int) -> Iterator[bytes]:
        """The blob of `holder` piece by piece, in a workspace that does not grow with the payload."""
        yield self._prefix(holder)
        seeded = self.layout.parameters.seeded_holders(self.dealer)
        if holder in seeded:
            yield self.secrets.seeds[seeded.index(holder)]
            return
        for shares in self.share_chunks((holder,)):
            yield b"".join(shares.row(0))

    def share_chunks(self, holders: tuple[int, ...]) -> Iterator[Split]:
        """Shares of these unseeded holders, (len(holders), <= WIRE_CHUNK) at a time; each overwrites the last."""
        matrix = _share_matrix(self.layout, self.dealer, holders)
        streams, total = WordStreams(self.secrets.seeds), self.layout.total_blocks
        buffer = Split.empty(len(holders), min(WIRE_CHUNK, total))
        at_a_time = SHARED // self.layout.parameters.privacy_threshold
        for start in range(0, total, WIRE_CHUNK):
            stop = min(start + WIRE_CHUNK, total)
            for piece in range(start, stop, at_a_time):
                end = min(piece + at_a_time, stop)
                chunks.share(self.secrets_of(piece, end), streams.take(end - piece), matrix, buffer, piece - start)
            yield buffer.head(stop - start)

    def node_words(self) -> WordSource:
        """The values (t + k, total_blocks) at the dealer's nodes, read piece by piece."""
        return _NodeWords(self)

    def secrets_of(self, start: int, stop: int) -> Words:
        """Secrets ((stop - start) * k,) of these blocks, block by block."""
        k, blocks = self.layout.parameters.pack_size, self.layout.blocks
        payload = self.secrets.payload[start * k : stop * k]
        if len(payload) == (stop - start) * k:
            return payload
        secrets = np.zeros((stop - start) * k, dtype=np.uint32)
        secrets[: len(payload)] = payload
        if stop > blocks:
            first = max(start, blocks)
            secrets[(first - start) * k :] = self.secrets.masks[(first - blocks) * k : (stop - blocks) * k]
        return secrets

    @cached_property
    def _blobs(self) -> tuple[bytes, ...]:
        parameters = self.layout.parameters
        holders = unseeded_holders(self.layout, self.dealer)
        bodies = dict(zip(parameters.seeded_holders(self.dealer), self.secrets.seeds, strict=True))
        for shares in self.share_chunks(holders):  # a single chunk, since KEPT_BLOCKS < WIRE_CHUNK
            bodies.update((holder, b"".join(shares.row(row))) for row, holder in enumerate(holders))
        return tuple(self._prefix(j) + bodies[j] for j in range(parameters.n))

    def _prefix(self, holder: int) -> bytes:
        return _owner(self.dealer, holder) + self.secrets.nonces[holder]


def deal(payload: Words, layout: Layout, dealer: int, seed: bytes) -> Dealing:
    """The dealing of `payload` (words,) by `dealer`; the same arguments give the same bytes.

    `seed` is 32 bytes that are fresh for every payload: two payloads under one seed reveal their difference.

    Raises:
        LocalError: a payload of another length or with a word that is not canonical, an unknown dealer, or
            a seed of another length.
    """
    parameters = layout.parameters
    if payload.dtype != np.uint32 or payload.shape != (layout.words,) or int(payload.max()) >= MODULUS:
        raise LocalError(f"a payload has {layout.words} canonical words, found shape {payload.shape}")
    if len(seed) != DEAL_SEED_BYTES:
        raise LocalError(f"a dealing needs {DEAL_SEED_BYTES} fresh bytes, found {len(seed)}")
    _check_member(layout, dealer)
    n, t = parameters.n, parameters.privacy_threshold
    drawn = keystream(derive_seed(seed, b"dealing", dealer), SEED_BYTES * (n + t + 1))
    pieces = tuple(drawn[i : i + SEED_BYTES] for i in range(0, len(drawn), SEED_BYTES))
    masks = expand(pieces[-1], layout.mask_blocks * parameters.pack_size)
    return Dealing(layout, dealer, Secrets(payload, masks, pieces[:n], pieces[n : n + t]))


def blob_size(layout: Layout, dealer: int, holder: int) -> int:
    """Bytes of the blob that `dealer` sends to `holder`."""
    _check_member(layout, dealer)
    _check_member(layout, holder)
    if holder in layout.parameters.seeded_holders(dealer):
        return PREFIX_BYTES + SEED_BYTES
    return PREFIX_BYTES + WORD_BYTES * layout.total_blocks


def is_blob(blob: bytes | memoryview, layout: Layout, dealer: int, holder: int) -> bool:
    """Whether the bytes can be what `dealer` sends to `holder`, by their size and by whose they say they are."""
    return len(blob) == blob_size(layout, dealer, holder) and bytes(blob[: PREFIX_BYTES - NONCE_BYTES]) == _owner(
        dealer, holder
    )


def _owner(dealer: int, holder: int) -> bytes:
    return bytes([FORMAT, dealer, holder])


def open_blob(blob: bytes | memoryview, layout: Layout, dealer: int, holder: int) -> Words:
    """The share (total_blocks,) in a blob.

    Raises:
        MalformedMessage: another size, another's share, or a word that is not canonical.
    """
    words = np.empty(layout.total_blocks, dtype=np.uint32)
    _words_of(blob, layout, dealer, holder).fill(words[np.newaxis])
    return words


def read_blob(blob: bytes | memoryview, layout: Layout, dealer: int, holder: int) -> WordSource:
    """The share (total_blocks,) in a blob, as one row that is read piece by piece.

    Raises:
        MalformedMessage: another size, another's share, or, once it is read, a word that is not canonical.
    """
    return _OneRow(_words_of(blob, layout, dealer, holder))


def _words_of(blob: bytes | memoryview, layout: Layout, dealer: int, holder: int) -> WireWords | WordStreams:
    body = _body(blob, layout, dealer, holder)
    if holder in layout.parameters.seeded_holders(dealer):
        return WordStreams((bytes(body),))
    return WireWords(body, layout.total_blocks)


def _body(blob: bytes | memoryview, layout: Layout, dealer: int, holder: int) -> memoryview:
    """What follows the prefix: a seed or a share."""
    if not is_blob(blob, layout, dealer, holder):
        expected = blob_size(layout, dealer, holder)
        raise MalformedMessage(
            f"no share of {dealer} for {holder}, of {expected} bytes; found {len(blob)}", peer=dealer
        )
    return memoryview(blob)[PREFIX_BYTES:]


class _OneRow:
    def __init__(self, words: WireWords | WordStreams) -> None:
        self._words = words
        self._buffer = np.empty((1, 0), dtype=np.uint32)

    def take(self, count: int) -> Words:
        if self._buffer.shape[1] < count:
            self._buffer = np.empty((1, count), dtype=np.uint32)
        piece = self._buffer[:, :count]
        self._words.fill(piece)
        return piece


class _NodeWords:
    def __init__(self, dealing: Dealing) -> None:
        self._dealing = dealing
        self._streams = WordStreams(dealing.secrets.seeds)
        self._at = 0

    def take(self, count: int) -> Words:
        start, self._at = self._at, self._at + count
        k = self._dealing.layout.parameters.pack_size
        rows = np.empty((self._dealing.layout.parameters.threshold, count), dtype=np.uint32)
        rows[:k] = self._dealing.secrets_of(start, self._at).reshape(count, k).T
        self._streams.fill(rows[k:])
        return rows


class PartialSum:
    """One holder's shares, added up as they arrive; their mask blocks are left out."""

    def __init__(self, layout: Layout, holder: int) -> None:
        self._layout = layout
        self._holder = holder
        self._total = np.zeros(layout.blocks, dtype=np.uint32)
        self._count = 0

    def add(self, dealer: int, blob: bytes | memoryview) -> None:
        """Add the share that `dealer` sent.

        Raises:
            MalformedMessage: another size, or a word that is not canonical; the sum cannot be used any more.
            LocalError: more shares than a committee has members.
        """
        if self._count == MAX_MEMBERS:  # 64 words of 24 bits fit in 32
            raise LocalError(f"at most {MAX_MEMBERS} shares are added up")
        self._count += 1
        body = _body(blob, self._layout, dealer, self._holder)
        is_seeded = self._holder in self._layout.parameters.seeded_holders(dealer)
        streams = WordStreams((bytes(body),)) if is_seeded else None
        total_blocks = self._layout.total_blocks
        for start in range(0, self._layout.blocks, WIRE_CHUNK):
            count = min(WIRE_CHUNK, total_blocks - start)
            split = Split.on_wire(body, count, WORD_BYTES * start) if streams is None else streams.take(count).first()
            part = self._total[start : start + WIRE_CHUNK]
            chunks.add(split.head(len(part)), part)

    def words(self) -> Words:
        """The sum (blocks,) so far, canonical; what is added later changes it."""
        chunks.make_canonical(self._total)
        return self._total


def recombine(partial_sums: Mapping[int, Words], layout: Layout) -> Words:
    """The sum (words,) of the payloads, from the partial sums (blocks,) of exactly t + k holders.

    Raises:
        LocalError: another number of holders, an unknown one, or a partial sum of another length.
    """
    return recombine_blocks(partial_sums, layout, layout.blocks)[: layout.words]


def recombine_blocks(partial_sums: Mapping[int, Words], layout: Layout, blocks: int) -> Words:
    """As `recombine`, of any piece of `blocks` blocks: its words with their padding, (blocks * k,).

    Raises:
        LocalError: another number of holders, an unknown one, or a partial sum of another length.
    """
    parameters = layout.parameters
    holders = tuple(sorted(partial_sums))
    if len(holders) != parameters.threshold:
        raise LocalError(f"{parameters.threshold} partial sums fix a sum, found {len(holders)}")
    for holder in holders:
        _check_member(layout, holder)
        if partial_sums[holder].shape != (blocks,):
            raise LocalError(f"a partial sum has {blocks} words, found {partial_sums[holder].shape}")
    matrix = basis(tuple(map(holder_point, holders)), secret_points(layout))
    k = parameters.pack_size
    payload = np.empty(blocks * k, dtype=np.uint32)
    for start in range(0, blocks, WIRE_CHUNK):
        rows = [partial_sums[holder][start : start + WIRE_CHUNK] for holder in holders]
        chunks.recombine(rows, matrix, payload[start * k : (start + WIRE_CHUNK) * k])
    return payload


def secret_points(layout: Layout) -> tuple[int, ...]:
    """x = -1 .. -k, where a block's secrets sit."""
    return tuple(-1 - slot for slot in range(layout.parameters.pack_size))


def dealer_nodes(layout: Layout, dealer: int) -> tuple[int, ...]:
    """The t + k points at which a dealer chooses its polynomials: the secrets', then the seeded holders'."""
    return secret_points(layout) + tuple(map(holder_point, layout.parameters.seeded_holders(dealer)))


def unseeded_holders(layout: Layout, dealer: int) -> tuple[int, ...]:
    """The n - t holders to whom `dealer` sends a share in full."""
    seeded = layout.parameters.seeded_holders(dealer)
    return tuple(j for j in range(layout.parameters.n) if j not in seeded)


def _share_matrix(layout: Layout, dealer: int, holders: tuple[int, ...]) -> Reals:
    return basis(dealer_nodes(layout, dealer), tuple(map(holder_point, holders)))


def _check_member(layout: Layout, member: int) -> None:
    if not 0 <= member < layout.parameters.n:
        raise LocalError(f"members are numbered 0 to {layout.parameters.n - 1}, found {member}")


def _hasher(size: int) -> blake3:
    """BLAKE3 as `spec.blob_digest(blob)` begins, for a blob that comes in pieces."""
    hasher = blake3(derive_key_context="mycelia 1 blob")
    hasher.update(size.to_bytes(8, "big"))
    return hasher
