"""The audit against an endpoint that lies about one thing at a time: each lie is found and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from eth_hash.auto import keccak

from ledger.audit import AuditReport, audit
from ledger.connection import Connection
from ledger.devchain import running
from ledger.errors import ChainUnavailable, LedgerError, NoContract, WrongChain
from ledger.findings import CODES
from ledger.rewards import deals_root, pack_scores
from ledger.trail import Trail
from ledger.types import RoundResult
from tests.helpers.lying_proxy import (
    Lie,
    Log,
    LyingProxy,
    honest,
    lying_proxy,
    on_answer,
    on_event,
    on_logs,
    on_topic,
    without,
)
from tests.helpers.recorded import FUND_WEI, HISTORY, Recorded, record_history

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
    proxy.lie = honest


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
        "codes": 3,
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
    ("round.order", of_rounds(lambda logs: [*logs, moved(logs[0], int(logs[-1]["blockNumber"], 16) + 1)])),
    (
        "round.order",
        of_rounds(lambda logs: [moved(logs[1], block_of(logs[0])), moved(logs[0], block_of(logs[1])), *logs[2:]]),
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

    assert "round.extra" in codes(told(of_rounds(one_more)))


def test_each_code_has_a_lie_that_it_names() -> None:
    elsewhere = {"code.mismatch", "code.immutable", "code.roster", "round.extra", "vault.balance"}
    # Neither can be told by changing one answer.
    untold = {"roster.size", "findings.more"}
    assert {code for code, _ in EVENT_LIES + LIST_LIES} | elsewhere | untold == set(CODES)


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
    events = 4 + 2 + 1 + len(HISTORY) + 8

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


GARBAGE: list[Any] = [None, 7, "", "0x", "0xzz", "0x1_0", [], [None], [{}], {}, "0x" + "ff" * 40, True, [[1]], "\ud800"]


@pytest.mark.parametrize(
    "method", ["eth_chainId", "eth_blockNumber", "eth_getCode", "eth_call", "eth_getLogs", "eth_getBalance"]
)
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
