"""Packed Shamir sharing once more, in plain Python integers and by the textbook: the oracle of the fast code.

Nothing here imports the code under test; only the wire and stream formats are written down a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

P = 16_777_213


def evaluate(points: Mapping[int, int], x: int) -> int:
    """Value at x of the polynomial of degree below len(points) through the points, by Lagrange's formula."""
    total = 0
    for xi, yi in points.items():
        numerator = denominator = 1
        for xj in points:
            if xj != xi:
                numerator = numerator * (x - xj) % P
                denominator = denominator * (xi - xj) % P
        total += yi * numerator * pow(denominator, P - 2, P)
    return total % P


def horner(coefficients: Sequence[int], x: int) -> int:
    """Value at x of the polynomial with these coefficients, lowest degree first."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % P
    return value


def aes_stream(seed: bytes, stream: int, count: int) -> bytes:
    counter = bytes([stream]) + bytes(15)
    return Cipher(algorithms.AES(seed), modes.CTR(counter)).encryptor().update(bytes(count))


def expand(seed: bytes, count: int) -> list[int]:
    """The words of a seed, one by one."""
    low, high = aes_stream(seed, 0, 2 * count), aes_stream(seed, 1, count)
    redraw = aes_stream(seed, 2, 3 * 64)
    used, words = 0, []
    for i in range(count):
        word = low[2 * i] + 256 * low[2 * i + 1] + 65_536 * high[i]
        while word >= P:
            word = int.from_bytes(redraw[used : used + 3], "little")
            used += 3
        words.append(word)
    return words


def decode(data: bytes) -> list[int]:
    """Words of the wire form, one by one; no checks."""
    words: list[int] = []
    for start in range(0, len(data), 3 * 65_536):
        chunk = data[start : start + 3 * 65_536]
        size = len(chunk) // 3
        for i in range(size):
            words.append(chunk[2 * i] + 256 * chunk[2 * i + 1] + 65_536 * chunk[2 * size + i])
    return words


def centre(word: int) -> int:
    return word - P if word > P // 2 else word


def rank(rows: Sequence[Sequence[int]]) -> int:
    """Rank modulo P of a matrix, by Gaussian elimination."""
    left = [list(row) for row in rows]
    found = 0
    for column in range(len(left[0]) if left else 0):
        pivot = next((i for i in range(found, len(left)) if left[i][column] % P), None)
        if pivot is None:
            continue
        left[found], left[pivot] = left[pivot], left[found]
        scale = pow(left[found][column], P - 2, P)
        left[found] = [value * scale % P for value in left[found]]
        for i in range(found + 1, len(left)):
            factor = left[i][column]
            if factor:
                left[i] = [(a - factor * b) % P for a, b in zip(left[i], left[found], strict=True)]
        found += 1
    return found
