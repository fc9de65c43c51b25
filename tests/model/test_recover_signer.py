"""What no transaction can bring about: a signature of a chosen s, for which the signer's key must fit the message."""

from __future__ import annotations

import pytest
from coincurve import PrivateKey
from eth_hash.auto import keccak

from ledger.model import ZERO_ADDRESS, recover_signer
from tests.helpers.chain import CURVE_ORDER, address_of, compact_signature, key_of

DIGEST = keccak(b"message")
GENERATOR = PrivateKey((1).to_bytes(32, "big")).public_key.point()


def signature_with(s: int) -> tuple[bytes, str]:
    """A valid signature of DIGEST with this s and the nonce 1, and the address of the key that made it."""
    r = GENERATOR[0]
    secret = (s - int.from_bytes(DIGEST, "big")) * pow(r, -1, CURVE_ORDER) % CURVE_ORDER
    vs = s | (GENERATOR[1] & 1) << 255
    key = PrivateKey(secret.to_bytes(32, "big"))
    return r.to_bytes(32, "big") + vs.to_bytes(32, "big"), address_of(key)


def test_an_s_of_half_the_order_is_somebodys_and_one_more_is_nobodys() -> None:
    signature, signer = signature_with(CURVE_ORDER // 2)
    assert recover_signer(DIGEST, signature) == signer
    signature, _ = signature_with(CURVE_ORDER // 2 + 1)
    assert recover_signer(DIGEST, signature) == ZERO_ADDRESS


@pytest.mark.parametrize("broken", [bytes(64), b"\xff" * 64, bytes(32) + b"\1" * 32, b"\1" * 32 + bytes(32)])
def test_bytes_that_are_no_signature_are_nobodys(broken: bytes) -> None:
    assert recover_signer(DIGEST, broken) == ZERO_ADDRESS


def test_a_members_signature_is_the_members() -> None:
    key = key_of("signer 0")
    assert recover_signer(DIGEST, compact_signature(key, DIGEST)) == address_of(key)
