"""`mycelia claim` pays what is final, whatever is disputed, void or paused beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger.approvals import Approval, Pause, RoundRuling
from ledger.client import LedgerClient
from ledger.connection import Connection
from ledger.devchain import DEV_KEYS, running
from ledger.types import DAY_SECONDS, EMPTY, members_of
from node import commands
from node.keys import Keys
from tests.helpers import recorded as history
from tests.helpers.chain import compact_signature, key_of
from tests.helpers.recorded import HISTORY, QUORUM, Recorded, begin

pytestmark = pytest.mark.network
WINDOW = 600
SENDER = Keys(None, bytes.fromhex(DEV_KEYS[2].removeprefix("0x")), bytes(32))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as server:
        yield server.url


@pytest.fixture
def young(url: str, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Two rounds, of which the second pays, in a window of ten minutes; whoever claims is member 0."""
    monkeypatch.setattr(history, "TERMS", replace(history.TERMS, dispute_window_seconds=WINDOW))
    monkeypatch.setattr(commands, "find_member", lambda roster, keys: 0)
    recorded = begin(url)
    for step in HISTORY[:2]:
        recorded.record(step)
    return recorded


def approve(url: str, recorded: Recorded, contract: str, function: str, approval: Approval, *args: object) -> None:
    """Sends what a quorum approved."""
    connection = Connection(url)
    registry = connection.contract("MemberRegistry", recorded.roster.registry)
    named = {"RoundLedger": "ledger", "Disputes": "disputes"}[contract]
    target = connection.contract(contract, connection.call(registry.functions[named]()))
    digest = approval.signing_digest(recorded.roster.chain_id, target.address)
    signed = b"".join(compact_signature(key_of(f"signer {index}"), digest) for index in members_of(QUORUM))
    data = target.encode_abi(function, [*args, QUORUM, signed])
    connection.send(DEV_KEYS[1], {"to": target.address, "value": 0, "data": data}, 500_000)


def make_void(url: str, recorded: Recorded, round_id: int) -> None:
    ruling = RoundRuling(recorded.roster.config_digest, round_id, True, EMPTY)
    approve(url, recorded, "Disputes", "ruleOnRound", ruling, round_id, True, EMPTY)


def claim(url: str, recorded: Recorded) -> int:
    return commands.claim_for(SENDER, url, recorded.roster.registry)


def test_nothing_is_paid_before_the_window_is_over_and_everything_once_after_it(url: str, young: Recorded) -> None:
    assert claim(url, young) == 0
    young.client.increase_time(WINDOW + 1)
    assert claim(url, young) == young.cumulative[1][0] > 0
    assert claim(url, young) == 0


def test_a_void_round_pays_nothing_and_blocks_no_later_one(url: str, young: Recorded) -> None:
    make_void(url, young, 1)
    young.client.increase_time(WINDOW + 1)
    assert claim(url, young) == 0
    young.record(HISTORY[2])
    young.client.increase_time(WINDOW + 1)
    assert claim(url, young) == young.cumulative[2][0] > 0


def test_what_is_active_is_paid_while_newer_rounds_are_void_or_paused(url: str, young: Recorded) -> None:
    young.client.increase_time(WINDOW + 1)
    young.activate(1)
    for step in HISTORY[2:4]:
        young.record(step)
    make_void(url, young, 3)
    young.client.increase_time(WINDOW + 1)
    assert young.client.payable_round() == 2
    assert claim(url, young) == young.cumulative[1][0]
    young.record(HISTORY[4])
    young.client.increase_time(WINDOW + 1)
    until = young.client.block_timestamp() + DAY_SECONDS
    pause = Pause(young.roster.config_digest, 0, until)
    approve(url, young, "RoundLedger", "pause", pause, until)
    assert claim(url, young) == 0  # the newest rewards cannot become active
    young.client.increase_time(DAY_SECONDS + 1)
    assert claim(url, young) == young.cumulative[4][0] - young.cumulative[1][0] > 0


def test_a_member_that_nothing_is_left_for_sends_nothing(url: str, young: Recorded) -> None:
    young.client.increase_time(WINDOW + 1)
    claim(url, young)
    before = LedgerClient(url, young.roster.registry).active_round()
    young.record(HISTORY[2])
    young.client.increase_time(WINDOW + 1)
    assert (claim(url, young), young.client.active_round()) == (0, before)
