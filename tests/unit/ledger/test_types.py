from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from ledger.types import (
    EMPTY,
    Member,
    Roster,
    RoundRecord,
    RoundResult,
    VaultTerms,
    bitmap_of,
    checked_address,
    compute_config_digest,
    members_of,
)
from tests.helpers.chain import deploy_consortium
from tests.helpers.recorded import member

LEDGER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
WORDS = st.binary(min_size=32, max_size=32)
RESULTS = st.builds(
    RoundResult,
    round=st.integers(0, 2**64 - 1),
    kind=st.integers(0, 255),
    outcome=st.integers(0, 255),
    previous=WORDS,
    config=WORDS,
    dealers=st.integers(0, 2**256 - 1),
    model=WORDS,
    deals=WORDS,
    scores=WORDS,
    rewards=WORDS,
    rewards_total=st.integers(0, 2**128 - 1),
)


def valid_result(**changes: Any) -> RoundResult:
    words = {name: bytes([place]) * 32 for place, name in enumerate(("model", "deals", "scores", "rewards"), 1)}
    result = RoundResult(3, 1, 1, previous=b"p" * 32, config=b"c" * 32, dealers=0b1011, rewards_total=7, **words)
    return replace(result, **changes)


def typed_data(result: RoundResult, chain_id: int) -> dict[str, Any]:
    types = {
        "round": "uint64", "kind": "uint8", "outcome": "uint8", "previous": "bytes32", "config": "bytes32",
        "dealers": "uint256", "model": "bytes32", "deals": "bytes32", "scores": "bytes32", "rewards": "bytes32",
        "rewardsTotal": "uint128",
    }  # fmt: skip
    domain = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    return {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in domain.items()],
            "RoundResult": [{"name": name, "type": kind} for name, kind in types.items()],
        },
        "primaryType": "RoundResult",
        "domain": {"name": "Mycelia", "version": "1", "chainId": chain_id, "verifyingContract": LEDGER},
        "message": dict(zip(types, result.as_tuple(), strict=True)),
    }


@given(RESULTS, st.integers(1, 2**63 - 1))
def test_members_sign_what_eth_account_hashes(result: RoundResult, chain_id: int) -> None:
    message = encode_typed_data(full_message=typed_data(result, chain_id))
    assert result.struct_hash() == message.body
    assert result.signing_digest(chain_id, LEDGER) == keccak(b"\x19" + message.version + message.header + message.body)


def test_the_contract_hashes_a_result_in_the_same_way() -> None:
    consortium = deploy_consortium(4)
    result = valid_result(round=2**64 - 1, dealers=2**256 - 1, rewards_total=2**128 - 1)
    assert consortium.ledger.functions.hashResult(result.as_tuple()).call() == result.struct_hash()


@pytest.mark.parametrize(
    "changes",
    [
        {"round": -1},
        {"round": 2**64},
        {"kind": 256},
        {"outcome": -1},
        {"dealers": 2**256},
        {"rewards_total": 2**128},
        {"model": b""},
        {"previous": bytes(33)},
    ],
)
def test_a_result_that_the_contract_cannot_hold_is_not_built(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        valid_result(**changes)


def test_the_config_digest_is_that_of_abi_encode() -> None:
    signers = tuple(member(index).signer for index in range(5))
    types = ["uint256", "address", "uint64", "address[]", "uint256", "bytes32"]
    expected = keccak(encode(types, [9, LEDGER, 1, signers, 4, b"s" * 32]))
    assert compute_config_digest(9, LEDGER, 1, signers, 4, b"s" * 32) == expected


def test_an_address_comes_back_with_its_checksum() -> None:
    assert checked_address(LEDGER.lower()) == LEDGER


@pytest.mark.parametrize("wrong", [LEDGER[:-1], LEDGER.replace("aA", "Aa"), "", "0x", "5", LEDGER + "00", None, 7])
def test_what_is_no_address_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        checked_address(wrong)


@pytest.mark.parametrize(
    "changes",
    [
        {"index": -1},
        {"name": ""},
        {"name": "ä" * 33},
        {"peer_id": "12D3 KooW"},
        {"peer_id": ""},
        {"port": 0},
        {"port": 65536},
        {"host": ""},
        {"host": "a b"},
        {"host": "h" * 256},
        {"account": "0x12"},
        {"signer": LEDGER.replace("aA", "Aa")},
    ],
)
def test_an_entry_that_the_registry_refuses_is_not_built(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        replace(member(0), **changes)


@pytest.mark.parametrize(("host", "text"), [("10.0.0.1", "10.0.0.1:4000"), ("::1", "[::1]:4000"), ("a.b", "a.b:4000")])
def test_a_net_address_splits_into_what_it_was_made_of(host: str, text: str) -> None:
    assert replace(member(0), host=host).net_address == text
    assert Member.split_net_address(text) == (host, 4000)


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:-1", "host:123456", "host:²"])
def test_a_net_address_without_a_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Member.split_net_address(text)


def test_a_roster_out_of_order_is_not_built() -> None:
    members = (member(1), member(0))
    with pytest.raises(ValueError, match="order"):
        Roster(1, EMPTY, 2, members, b"{}", LEDGER, LEDGER, LEDGER, 1)


def test_a_quorum_above_the_members_is_not_built() -> None:
    with pytest.raises(ValueError, match="quorum"):
        Roster(1, EMPTY, 3, (member(0), member(1)), b"{}", LEDGER, LEDGER, LEDGER, 1)


def test_a_record_has_one_signature_for_each_signer() -> None:
    with pytest.raises(ValueError, match="signatures"):
        RoundRecord(valid_result(), None, 0b11, bytes(64), "0x", 1)


@pytest.mark.parametrize("numbers", [(-1, 0, 0), (2**128, 0, 0), (1, 1_000_001, 0), (1, -1, 0), (1, 0, 2**64)])
def test_terms_that_no_vault_takes_are_not_built(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        VaultTerms(*numbers)


@given(st.sets(st.integers(0, 63)))
def test_a_bitmap_holds_exactly_its_members(indices: set[int]) -> None:
    assert members_of(bitmap_of(indices)) == tuple(sorted(indices))
