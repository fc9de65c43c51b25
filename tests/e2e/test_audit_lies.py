"""The audit against an endpoint that lies about one thing at a time: each lie is found and named."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from threading import Event
from typing import Any

import pytest
from eth_hash.auto import keccak

from ledger import audit_registry, connection, pages, trail
from ledger.audit import AuditReport, audit
from ledger.connection import Connection
from ledger.devchain import running
from ledger.errors import ChainUnavailable, LedgerError, NoAnswer, NoContract, WrongChain
from ledger.finality import Finality
from ledger.findings import CODES
from ledger.rewards import deals_root, pack_scores
from ledger.trail import MAX_PAGE_LOGS, Trail
from ledger.types import ZERO_ADDRESS, RoundResult
from tests.helpers.lying_proxy import (
    Lie,
    Log,
    LyingProxy,
    Refusal,
    honest,
    lying_proxy,
    on_answer,
    on_event,
    on_logs,
    on_topic,
    without,
)
from tests.helpers.recorded import FUND_WEI, HISTORY, N, Recorded, record_history
from tests.helpers.storm_lies import STORM_LIES

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def proxy() -> Iterator[LyingProxy]:
    with running() as server, lying_proxy(server.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def recorded(proxy: LyingProxy) -> Recorded:
    history = record_history(proxy.url)
    proxy.still = True
    return history


@pytest.fixture
def told(proxy: LyingProxy, recorded: Recorded) -> Iterator[Callable[[Lie], AuditReport]]:
    """Audits through the proxy while it tells this lie."""

    def run(lie: Lie) -> AuditReport:
        proxy.lie = lie
        return audit(proxy.url, recorded.roster.registry)

    yield run
    proxy.lie, proxy.garble = honest, lambda method, answer: answer


def codes(report: AuditReport) -> set[str]:
    assert report.ok is not bool(report.findings)
    return {finding.code for finding in report.findings}


def test_a_true_history_passes_and_everything_in_it_was_checked(
    told: Callable[[Lie], AuditReport], recorded: Recorded
) -> None:
    report = told(honest)
    assert report.findings == ()
    assert report.ok
    assert report.as_json()["checked"] == {
        "members": 4,
        "rounds": len(HISTORY),
        "signatures": 3 * len(HISTORY),
        "leaves": 4 * len(HISTORY),
        "wei": sum(recorded.cumulative[-1]),
        "codes": 4,
        "approvals": 0,
    }


def in_result(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Changes fields of an event's result and makes its digest fit, as a careful liar would."""

    def change(values: dict[str, Any]) -> None:
        result = replace(RoundResult(*values["result"]), **changes)
        values["result"], values["digest"] = result.as_tuple(), result.struct_hash()

    return change


def setting(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda values: values.update(changes)


def add(name: str, amount: int) -> Callable[[dict[str, Any]], None]:
    return lambda values: values.update({name: values[name] + amount})


def with_bit(values: dict[str, Any]) -> None:
    signatures = bytearray(values["signatures"])
    signatures[64 + 5] ^= 1
    values["signatures"] = bytes(signatures)


def swapped(values: dict[str, Any]) -> None:
    signatures = values["signatures"]
    values["signatures"] = signatures[64:128] + signatures[:64] + signatures[128:]


ROUND = ("RoundLedger", "RoundRecorded")
CLAIM = ("RewardVault", "RewardClaimed")
ACTIVATED = ("RewardVault", "RootActivated")
MEMBER = ("MemberRegistry", "MemberAdmitted")
STRANGER = "0x" + "ab" * 20

EVENT_LIES = [
    ("round.digest", on_event(*ROUND, setting(digest=b"\1" * 32), 1)),
    ("round.storage", on_event(*ROUND, in_result(model=b"\7" * 32), 1)),
    ("round.signature", on_event(*ROUND, in_result(model=b"\7" * 32), 1)),
    ("round.number", on_event(*ROUND, in_result(round=3), 1)),
    ("round.previous", on_event(*ROUND, in_result(previous=b"\7" * 32), 1)),
    ("round.config", on_event(*ROUND, in_result(config=b"\7" * 32), 1)),
    ("round.kind", on_event(*ROUND, in_result(kind=2), 1)),
    ("round.outcome", on_event(*ROUND, in_result(outcome=3), 1)),
    ("round.dealers", on_event(*ROUND, in_result(dealers=0b0001), 1)),
    ("round.dealers", on_event(*ROUND, in_result(dealers=0b10111), 1)),
    ("round.deals", on_event(*ROUND, in_result(deals=deals_root({})), 1)),
    ("round.deals", on_event(*ROUND, in_result(deals=b"\7" * 32), 2)),
    ("round.model", on_event(*ROUND, in_result(model=b"\7" * 32), 2)),
    ("round.signature", on_event(*ROUND, with_bit, 1)),
    ("round.signature", on_event(*ROUND, swapped, 1)),
    ("round.signature", on_event(*ROUND, setting(signatures=b""), 1)),
    ("round.quorum", on_event(*ROUND, lambda v: v.update(signers=0b0011, signatures=v["signatures"][:128]), 1)),
    ("round.signers", on_event(*ROUND, setting(signers=0b10011), 1)),
    ("score.hash", on_event(*ROUND, setting(scores=pack_scores([300, -20, 5, 101])), 3)),
    ("score.hash", on_event(*ROUND, setting(scores=b""), 3)),
    ("score.length", on_event(*ROUND, setting(scores=pack_scores([300, -20, 5])), 3)),
    ("score.unexpected", on_event(*ROUND, setting(scores=pack_scores([1, 1, 1, 1])), 1)),
    ("score.stranger", on_event(*ROUND, setting(scores=pack_scores([50, 50, 1, 1])), 4)),
    ("rewards.root", on_event(*ROUND, in_result(rewards=b"\7" * 32), 1)),
    ("rewards.total", on_event(*ROUND, in_result(rewards_total=1), 1)),
    ("rewards.root", on_event(*ROUND, setting(scores=pack_scores([301, -20, 5, 100])), 3)),
    ("claim.amount", on_event(*CLAIM, add("amountWei", 1), 1)),
    ("claim.leaf", on_event(*CLAIM, lambda v: (add("amountWei", 1)(v), add("cumulativeWei", 1)(v)), 2)),
    ("claim.storage", on_event(*CLAIM, lambda v: (add("amountWei", 1)(v), add("cumulativeWei", 1)(v)), 2)),
    ("claim.account", on_event(*CLAIM, setting(account=STRANGER))),
    ("root.mismatch", on_event(*ACTIVATED, setting(root=b"\7" * 32), 1)),
    ("root.total", on_event(*ACTIVATED, add("totalWei", -1), 1)),
    ("root.unfunded", on_event("RewardVault", "Funded", setting(amountWei=1))),
    ("vault.storage", on_event("RewardVault", "Funded", add("amountWei", -1))),
    ("vault.terms", on_event("RewardVault", "TermsAdopted", add("roundBudget", 1))),
    ("vault.terms", on_event("RewardVault", "StakeTermsAdopted", add("unbondingSeconds", 1))),
    ("vault.terms", on_event("RoundLedger", "WindowsAdopted", add("rulingSeconds", 1))),
    ("roster.member", on_event(*MEMBER, setting(account=STRANGER), 2)),
    ("roster.config", on_event(*MEMBER, setting(signer=STRANGER), 2)),
    ("roster.quorum", on_event("MemberRegistry", "RosterChanged", setting(quorum=2))),
    ("roster.active", on_event("MemberRegistry", "RosterChanged", setting(activeBitmap=0b0111))),
    ("roster.config", on_event("MemberRegistry", "RosterChanged", setting(configDigest=b"\7" * 32))),
    ("spec.digest", on_event("MemberRegistry", "SpecAdopted", setting(spec=b'{"rounds":9}'))),
    ("roster.version", on_topic("MemberRegistry", "RosterChanged", 2)),
    ("roster.member", on_topic(*MEMBER, 3, place=2)),
    ("round.number", on_topic(*ROUND, 2, place=1)),
    ("root.unknown", on_topic(*ACTIVATED, 9, place=1)),
    ("root.order", on_topic(*ACTIVATED, 1, place=1)),
    ("root.order", on_topic(*ACTIVATED, 2)),
    ("claim.member", on_topic(*CLAIM, 4)),
    ("claim.amount", on_topic(*CLAIM, 2, place=1)),
    ("claim.inactive", without(*ACTIVATED)),
    ("claim.sum", on_event(*ACTIVATED, setting(totalWei=1), 1)),
    ("claim.storage", without(*CLAIM)),
    ("root.unfunded", without("RewardVault", "Funded")),
    ("vault.terms", without("RewardVault", "TermsAdopted")),
    ("spec.unreadable", without("MemberRegistry", "SpecAdopted")),
    ("roster.missing", without("MemberRegistry", "RosterChanged")),
    ("roster.storage", without(*MEMBER)),
    ("rewards.unknown", without(*ROUND)),
    ("spec.unreadable", on_event("MemberRegistry", "SpecAdopted", setting(spec=b"[[[["))),
]


@pytest.mark.parametrize(("code", "lie"), EVENT_LIES, ids=[f"{n}-{c}" for n, (c, _) in enumerate(EVENT_LIES)])
def test_a_changed_event_is_found(told: Callable[[Lie], AuditReport], code: str, lie: Lie) -> None:
    assert code in codes(told(lie))


def of_rounds(change: Callable[[list[Log]], list[Log]]) -> Lie:
    """A lie about the list of the ledger's rounds; its first event, without an index, tells of its windows."""

    def lie(logs: list[Log]) -> list[Log]:
        is_ledger = len(logs) == 1 + len(HISTORY) and len(logs[0]["topics"]) == 1
        return [logs[0], *change(logs[1:])] if is_ledger else logs

    return on_logs(lie)


def moved(log: Log, block: int) -> Log:
    return log | {"blockNumber": hex(block)}


ONE_HASH = "0x" + "5c" * 32


def of_one_hash(lie: Lie) -> Lie:
    """The lie by an endpoint that gives all blocks one hash, so that moved logs do not contradict their headers."""

    def consistent(method: str, params: list[Any], result: Any) -> Any:
        told = lie(method, params, result)
        if method == "eth_getBlockByNumber":
            return told | {"hash": ONE_HASH}
        return [log | {"blockHash": ONE_HASH} for log in told] if method == "eth_getLogs" else told

    return consistent


def block_of(log: Log) -> int:
    return int(log["blockNumber"], 16)


LIST_LIES = [
    ("round.missing", of_rounds(lambda logs: logs[:1] + logs[2:])),
    ("round.missing", of_rounds(lambda logs: logs[1:])),
    ("round.missing", of_rounds(lambda logs: logs[:-1])),
    ("round.missing", of_rounds(lambda logs: [])),
    ("log.unreadable", of_rounds(lambda logs: [logs[1], logs[0], *logs[2:]])),
    ("log.unreadable", of_rounds(lambda logs: [logs[0], *logs])),
    ("log.unreadable", of_rounds(lambda logs: [*logs, moved(logs[0], 10**6)])),
    ("round.order", of_one_hash(of_rounds(lambda logs: [*logs, moved(logs[0], block_of(logs[-1]) + 1)]))),
    (
        "round.order",
        of_one_hash(
            of_rounds(lambda logs: [moved(logs[1], block_of(logs[0])), moved(logs[0], block_of(logs[1])), *logs[2:]])
        ),
    ),
    ("log.unreadable", of_rounds(lambda logs: [logs[0] | {"data": logs[0]["data"][:-64]}, *logs[1:]])),
    ("log.unreadable", of_rounds(lambda logs: [logs[0] | {"data": logs[0]["data"] + "00" * 32}, *logs[1:]])),
    ("log.unreadable", of_rounds(lambda logs: [logs[0] | {"address": STRANGER}, *logs[1:]])),
    ("log.unreadable", of_rounds(lambda logs: [logs[0] | {"topics": []}, *logs[1:]])),
    ("log.unreadable", of_rounds(lambda logs: [logs[0] | {"removed": True}, *logs[1:]])),
    ("roster.missing", on_logs(lambda logs: [])),
]


@pytest.mark.parametrize(("code", "lie"), LIST_LIES, ids=[f"{n}-{c}" for n, (c, _) in enumerate(LIST_LIES)])
def test_a_missing_repeated_or_moved_event_is_found(told: Callable[[Lie], AuditReport], code: str, lie: Lie) -> None:
    assert code in codes(told(lie))


def test_an_event_of_a_round_that_never_was_is_found(told: Callable[[Lie], AuditReport]) -> None:
    def one_more(logs: list[Log]) -> list[Log]:
        extra = moved(logs[-1], int(logs[-1]["blockNumber"], 16) + 1)
        extra["topics"] = [extra["topics"][0], "0x" + (len(HISTORY)).to_bytes(32, "big").hex()]
        return [*logs, extra]

    assert "round.extra" in codes(told(of_one_hash(of_rounds(one_more))))


def test_each_code_has_a_lie_that_it_names() -> None:
    elsewhere = {
        "code.mismatch", "code.immutable", "code.roster", "roster.size", "round.extra", "vault.balance",
        "dispute.bound", "revenue.bound", "findings.more",
    }  # fmt: skip
    assert {code for code, _ in EVENT_LIES + LIST_LIES + STORM_LIES} | elsewhere == {
        code for code in CODES if not code.startswith(("record.", "model."))
    }


def test_a_dropped_round_is_named(told: Callable[[Lie], AuditReport]) -> None:
    report = told(of_rounds(lambda logs: logs[:1] + logs[2:]))
    assert ("round.missing", 1) in {(finding.code, finding.round_id) for finding in report.findings}


def test_a_wrong_score_names_its_round_and_is_not_blamed_on_later_ones(told: Callable[[Lie], AuditReport]) -> None:
    report = told(on_event(*ROUND, setting(scores=pack_scores([301, -20, 5, 100])), 3))
    assert {finding.round_id for finding in report.findings} == {3}


def test_a_dropped_payment_is_found(told: Callable[[Lie], AuditReport]) -> None:
    def without_last(logs: list[Log]) -> list[Log]:
        return logs[:-1] if len(logs) == 8 else logs

    assert {"claim.storage", "vault.storage"} <= codes(told(on_logs(without_last)))


@pytest.mark.parametrize("method", ["eth_getLogs", "eth_getBlockByNumber"])
def test_a_log_of_a_block_with_another_hash_is_found(told: Callable[[Lie], AuditReport], method: str) -> None:
    def other(params: list[Any], result: Any) -> Any:
        if method == "eth_getLogs":
            return [log | {"blockHash": ONE_HASH} for log in result]
        return result | {"hash": ONE_HASH}

    assert "log.unreadable" in codes(told(on_answer(method, other)))


def test_members_without_signers_sign_nothing(told: Callable[[Lie], AuditReport]) -> None:
    """Garbage recovers to the zero address, which would otherwise have signed everything."""

    def nobody(method: str, params: list[Any], result: Any) -> Any:
        for place in range(N):
            result = on_event(*MEMBER, setting(signer=ZERO_ADDRESS), place)(method, params, result)
        return on_event(*ROUND, setting(signatures=bytes(192)), 1)(method, params, result)

    report = told(nobody)
    assert "roster.member" in codes(report)
    assert report.checked.signatures == 0


def test_two_members_with_one_key_are_found(told: Callable[[Lie], AuditReport], recorded: Recorded) -> None:
    signer = recorded.roster.members[0].signer
    report = told(on_event(*MEMBER, setting(signer=signer), 1))
    assert any("have one signer" in finding.text for finding in report.findings)


def test_a_stake_that_unbonds_before_a_dispute_is_over_is_found(
    told: Callable[[Lie], AuditReport], recorded: Recorded
) -> None:
    unbonding = (8 * 86_400).to_bytes(32, "big")
    lie = in_code_of(recorded.roster.vault, lambda code: code.replace(unbonding, bytes(31) + b"\1"))
    assert any("unbonds in 1 seconds" in finding.text for finding in told(lie).findings)


def in_code_of(address: str, change: Callable[[bytes], bytes]) -> Lie:
    def lie(params: list[Any], result: str) -> str:
        if params[0].lower() != address.lower():
            return result
        return "0x" + change(bytes.fromhex(result[2:])).hex()

    return on_answer("eth_getCode", lie)


@pytest.mark.parametrize("name", ["registry", "ledger", "vault"])
def test_a_swapped_code_is_found(told: Callable[[Lie], AuditReport], recorded: Recorded, name: str) -> None:
    address = getattr(recorded.roster, name)

    def flipped(code: bytes) -> bytes:
        return code[:60] + bytes([code[60] ^ 1]) + code[61:]

    assert "code.mismatch" in codes(told(in_code_of(address, flipped)))


def test_a_ledger_that_serves_another_registry_is_found(told: Callable[[Lie], AuditReport], recorded: Recorded) -> None:
    own, other = bytes.fromhex(recorded.roster.registry[2:]), bytes.fromhex(STRANGER[2:])
    lie = in_code_of(recorded.roster.ledger, lambda code: code.replace(own, other))
    assert codes(told(lie)) == {"code.immutable"}


def test_a_code_with_two_values_of_one_immutable_is_found(
    told: Callable[[Lie], AuditReport], recorded: Recorded
) -> None:
    own, other = bytes.fromhex(recorded.roster.registry[2:]), bytes.fromhex(STRANGER[2:])
    report = told(in_code_of(recorded.roster.ledger, lambda code: code.replace(own, other, 1)))
    assert any("two values of registry" in finding.text for finding in report.findings)


def test_terms_that_no_constructor_accepts_are_found(told: Callable[[Lie], AuditReport], recorded: Recorded) -> None:
    part, more = (number.to_bytes(32, "big") for number in (500_000, 1_000_001))
    report = told(in_code_of(recorded.roster.vault, lambda code: code.replace(part, more)))
    assert any("none that its constructor accepts" in finding.text for finding in report.findings)


@pytest.mark.parametrize("bound", ["MAX_MEMBERS", "MAX_ROSTERS"])
def test_more_members_than_a_registry_holds_are_found(
    told: Callable[[Lie], AuditReport], monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(audit_registry, bound, 0)
    assert "roster.size" in codes(told(honest))


def test_a_vault_with_another_budget_is_found(told: Callable[[Lie], AuditReport], recorded: Recorded) -> None:
    budget, more = ((10**15 + extra).to_bytes(32, "big") for extra in (0, 1))
    lie = in_code_of(recorded.roster.vault, lambda code: code.replace(budget, more))
    assert {"vault.terms", "rewards.root"} <= codes(told(lie))


def test_a_vault_that_holds_too_little_is_found(told: Callable[[Lie], AuditReport]) -> None:
    assert codes(told(on_answer("eth_getBalance", lambda params, result: hex(FUND_WEI // 2)))) == {"vault.balance"}


def test_another_roster_where_the_ledger_reads_it_is_found(
    told: Callable[[Lie], AuditReport], proxy: LyingProxy, recorded: Recorded
) -> None:
    address = Trail(Connection(proxy.url)).view("MemberRegistry", recorded.roster.registry, "rosterCode")
    assert codes(told(in_code_of(address, lambda code: code[:-1] + bytes([code[-1] ^ 1])))) == {"code.roster"}


def test_coins_forced_on_the_vault_are_no_finding(told: Callable[[Lie], AuditReport]) -> None:
    assert told(on_answer("eth_getBalance", lambda params, result: hex(2 * FUND_WEI))).ok


def test_every_changed_view_is_found_or_refused(told: Callable[[Lie], AuditReport]) -> None:
    calls: list[int] = []
    told(on_answer("eth_call", lambda params, result: calls.append(1) or result))
    assert len(calls) > 20
    for chosen in range(len(calls)):
        seen: list[int] = []

        def lie(params: list[Any], result: str, chosen: int = chosen, seen: list[int] = seen) -> str:
            seen.append(1)
            last = f"{(int(result[-2:], 16) + 1) % 256:02x}"
            return result[:-2] + last if len(seen) == chosen + 1 else result

        try:
            assert not told(on_answer("eth_call", lie)).ok, chosen
        except ChainUnavailable:
            continue


@pytest.mark.parametrize("seed", range(60))
def test_any_changed_byte_of_any_event_is_found(told: Callable[[Lie], AuditReport], seed: int) -> None:
    random = Random(seed)
    events = 4 + 2 + 1 + len(HISTORY) + 8 + 1

    def flip(text: str) -> str:
        data = bytearray.fromhex(text[2:])
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        return "0x" + data.hex()

    chosen, seen = random.randrange(events), [0]

    def change(logs: list[Log]) -> list[Log]:
        if seen[0] <= chosen < seen[0] + len(logs):
            log = logs[chosen - seen[0]]
            # Who funded the vault is written down nowhere else.
            if random.random() < 0.25 and log["topics"][0] != "0x" + keccak(b"Funded(address,uint256)").hex():
                place = random.randrange(len(log["topics"]))
                log["topics"][place] = flip(log["topics"][place])
            else:
                log["data"] = flip(log["data"])
        seen[0] += len(logs)
        return logs

    report = told(on_logs(change))
    assert seen[0] == events
    assert not report.ok


# --- pages ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question about two blocks at a time, so that a short history has many pages."""
    monkeypatch.setattr(pages, "FIRST_BLOCKS", 2)
    monkeypatch.setattr(pages, "MOST_BLOCKS", 2)


@pytest.mark.usefixtures("short_pages")
def test_a_true_history_passes_in_many_pages(told: Callable[[Lie], AuditReport]) -> None:
    asked: list[int] = []
    assert told(on_answer("eth_getLogs", lambda params, logs: asked.append(1) or logs)).ok
    assert len(asked) > 15


@pytest.mark.usefixtures("short_pages")
def test_a_page_that_is_given_twice_is_found(told: Callable[[Lie], AuditReport]) -> None:
    before: list[list[Log]] = [[]]

    def again(params: list[Any], logs: list[Log]) -> list[Log]:
        shown = before[0] or logs
        before[0] = logs
        return shown

    assert {"log.unreadable", "round.missing"} <= codes(told(on_answer("eth_getLogs", again)))


@pytest.mark.usefixtures("short_pages")
def test_a_page_that_is_given_twice_under_other_numbers_is_found(told: Callable[[Lie], AuditReport]) -> None:
    before: dict[str, list[Log]] = {}

    def again(params: list[Any], logs: list[Log]) -> list[Log]:
        wanted = params[0]["address"] + str(params[0].get("topics"))
        shown = [moved(log, int(params[0]["fromBlock"], 16)) for log in before.get(wanted, [])] or logs
        before[wanted] = logs
        return shown

    assert "round.order" in codes(told(of_one_hash(on_answer("eth_getLogs", again))))


@pytest.mark.usefixtures("short_pages")
@pytest.mark.parametrize("page", range(22))
def test_any_page_answered_with_too_few_logs_is_found(told: Callable[[Lie], AuditReport], page: int) -> None:
    full: list[int] = []

    def fewer(params: list[Any], logs: list[Log]) -> list[Log]:
        full.extend([1] if logs else [])
        return logs[:-1] if logs and len(full) == page + 1 else logs

    report = told(on_answer("eth_getLogs", fewer))
    assert report.ok is (len(full) <= page), (page, len(full))
    assert 10 < len(full) <= 22


def test_logs_cut_off_at_some_number_are_found(told: Callable[[Lie], AuditReport]) -> None:
    # As endpoints do that hide how many logs they give at most.
    for most in range(1, 7):
        assert not told(on_logs(lambda logs, most=most: logs[:most])).ok, most


def test_an_endpoint_that_takes_short_spans_alone_is_asked_about_short_ones(told: Callable[[Lie], AuditReport]) -> None:
    refused: list[int] = []

    def choosy(params: list[Any], logs: list[Log]) -> Any:
        blocks = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
        refused.extend([1] if blocks > 3 else [])
        return Refusal(-32005, "query returned more than 3 blocks") if blocks > 3 else logs

    assert told(on_answer("eth_getLogs", choosy)).ok
    assert refused


# --- what no chain would answer ---------------------------------------------------------------------------------------


def test_another_chain_id_is_found(told: Callable[[Lie], AuditReport]) -> None:
    found = codes(told(on_answer("eth_chainId", lambda params, result: "0x1")))
    assert {"code.immutable", "roster.config", "round.config"} <= found


@pytest.mark.parametrize("number", [2**34, 2**63, 2**255])
def test_more_blocks_than_a_chain_has_are_not_looked_through(told: Callable[[Lie], AuditReport], number: int) -> None:
    with pytest.raises(ChainUnavailable, match="no chain has"):
        told(on_answer("eth_blockNumber", lambda params, result: hex(number)))


def test_a_chain_without_a_final_block_is_said_to_have_none(proxy: LyingProxy, recorded: Recorded) -> None:
    with pytest.raises(ChainUnavailable, match="no final block yet, where finality is confirmations:1000"):
        audit(proxy.url, recorded.roster.registry, finality=Finality(confirmations=1000))


def test_what_is_not_final_is_not_audited(proxy: LyingProxy, recorded: Recorded) -> None:
    # The last block holds a payment, and nothing after it.
    (newest, older) = (audit(proxy.url, recorded.roster.registry, finality=Finality(k)) for k in (0, 1))
    assert (older.ok, older.block) == (True, newest.block - 1)
    assert older.members[1].claimed_wei < newest.members[1].claimed_wei


def test_more_rounds_than_anybody_can_count_are_a_finding(
    told: Callable[[Lie], AuditReport], proxy: LyingProxy
) -> None:
    recorded_rounds = len(HISTORY).to_bytes(32, "big").hex()

    def lie(params: list[Any], result: str) -> str:
        return "0x" + (2**64 - 1).to_bytes(32, "big").hex() if result == "0x" + recorded_rounds else result

    assert "round.missing" in codes(told(on_answer("eth_call", lie)))


def test_a_history_that_was_replaced_during_the_audit_is_not_reported_on(told: Callable[[Lie], AuditReport]) -> None:
    seen: list[int] = []

    def replaced(params: list[Any], block: Any) -> Any:
        seen.append(1)
        return block | {"hash": "0x" + "ab" * 32} if len(seen) > 1 else block

    with pytest.raises(ChainUnavailable, match="was replaced while it was audited"):
        told(on_answer("eth_getBlockByNumber", replaced))


METHODS = [
    f"eth_{name}"
    for name in (
        "chainId",
        "blockNumber",
        "getBlockByNumber",
        "getCode",
        "call",
        "getStorageAt",
        "getLogs",
        "getBalance",
    )
]
BYTES = [b"", b"<html>", b"\xff\xfe", b"[" * 200_000, b'{"jsonrpc":"2.0","id":0,"result":', b"{}", b"null", b'"' * 9]


@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_are_no_answer_are_refused(
    told: Callable[[Lie], AuditReport], proxy: LyingProxy, method: str
) -> None:
    for answer in BYTES:
        proxy.garble = lambda asked, true, answer=answer: answer if asked == method else true
        with pytest.raises(LedgerError):
            told(honest)


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_without_end_is_cut_off(
    told: Callable[[Lie], AuditReport], proxy: LyingProxy, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_ANSWER_BYTES", 1 << 17)
    proxy.garble = lambda asked, true: b" " * (1 << 18) + true if asked == method else true
    with pytest.raises(ChainUnavailable, match="larger than 131072 bytes"):
        told(honest)


@pytest.mark.parametrize("method", ["eth_getLogs", "eth_call"])
def test_an_endpoint_that_falls_silent_is_given_up(
    told: Callable[[Lie], AuditReport], proxy: LyingProxy, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.1)
    monkeypatch.setattr(trail, "PAUSE_SECONDS", 0.01)
    never = Event()

    def late(asked: str, answer: bytes) -> bytes:
        if asked == method:
            never.wait(0.5)
        return answer

    proxy.garble = late
    begun = time.monotonic()
    with pytest.raises(NoAnswer):
        told(honest)
    assert time.monotonic() - begun < 20


def test_more_logs_than_blocks_have_gas_for_are_refused(told: Callable[[Lie], AuditReport], proxy: LyingProxy) -> None:
    flood = b'{"jsonrpc":"2.0","id":0,"result":[' + b"{}," * MAX_PAGE_LOGS + b"{}]}"
    proxy.garble = lambda asked, true: flood if asked == "eth_getLogs" else true
    with pytest.raises(ChainUnavailable, match="no list of logs"):
        told(honest)


def test_a_flood_of_logs_fills_no_memory(told: Callable[[Lie], AuditReport], proxy: LyingProxy) -> None:
    flood = b'{"jsonrpc":"2.0","id":0,"result":[' + b"{}," * 19_999 + b"{}]}"
    proxy.garble = lambda asked, true: flood if asked == "eth_getLogs" else true
    tracemalloc.start()
    try:
        report = told(honest)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {"log.unreadable", "roster.missing", "findings.more"} <= codes(report)
    assert len(report.findings) < 150
    assert peak < 48 << 20


GARBAGE: list[Any] = [None, 7, "", "0x", "0xzz", "0x1_0", [], [None], [{}], {}, "0x" + "ff" * 40, True, [[1]], "\ud800"]


@pytest.mark.parametrize("method", METHODS)
def test_garbage_gives_a_finding_or_a_typed_error(told: Callable[[Lie], AuditReport], method: str) -> None:
    for garbage in GARBAGE:
        try:
            report = told(on_answer(method, lambda params, result, garbage=garbage: garbage))
        except LedgerError:
            continue
        assert not report.ok, (method, garbage)


def test_another_chain_than_expected_is_refused(proxy: LyingProxy, recorded: Recorded) -> None:
    with pytest.raises(WrongChain):
        audit(proxy.url, recorded.roster.registry, expect_chain_id=1)


def test_an_address_without_code_is_refused(proxy: LyingProxy, recorded: Recorded) -> None:
    with pytest.raises(NoContract):
        audit(proxy.url, STRANGER)


def test_progress_counts_the_rounds(proxy: LyingProxy, recorded: Recorded) -> None:
    steps: list[tuple[int, int]] = []
    audit(proxy.url, recorded.roster.registry, lambda done, total: steps.append((done, total)))
    assert steps == [(number + 1, len(HISTORY)) for number in range(len(HISTORY))]
