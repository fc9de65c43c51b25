"""The audit of a consortium to which everything happens, against an endpoint that lies about one thing at a time."""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak

from ledger import artifacts, replay
from ledger.audit import AuditReport
from ledger.errors import ChainUnavailable
from ledger.standing import VoidRounds
from ledger.trail import event_types
from tests.helpers.chain import ETHER
from tests.helpers.lying_proxy import Lie, Log, honest, on_answer, on_logs
from tests.helpers.scene import deploy_scene
from tests.helpers.storm import SPEC, Shown, Storm, raise_storm
from tests.helpers.storm_lies import STORM_LIES

FREE_TOPICS = ("Funded", "Staked", "RevenuePaid")
"""Events with an indexed payer, who is written down nowhere else."""

ROTATED = 2
"""The founder whose first account and addresses are written down nowhere else, since it changed them."""


@pytest.fixture(scope="module")
def storm() -> Storm:
    return raise_storm()


@pytest.fixture(scope="module")
def shown(storm: Storm) -> Shown:
    return Shown(storm.consortium)


@pytest.fixture(scope="module")
def logs(shown: Shown) -> list[Log]:
    """Every log of the storm, oldest first."""
    seen: dict[tuple[int, int], Log] = {}

    def remember(found: list[Log]) -> list[Log]:
        seen.update({(int(log["blockNumber"], 16), int(log["logIndex"], 16)): log for log in found})
        return found

    shown.audit(on_logs(remember))
    return [log for _, log in sorted(seen.items())]


def kind_of(log: Log) -> str:
    """Name of the log's event."""
    kinds = {topic: kind.name for name in artifacts.NAMES for topic, kind in event_types(name).items()}
    return kinds[bytes.fromhex(log["topics"][0][2:])]


def codes(report: AuditReport) -> set[str]:
    return {finding.code for finding in report.findings}


def test_a_true_storm_passes_and_everything_in_it_was_checked(shown: Shown) -> None:
    report = shown.audit(honest)
    assert report.findings == ()
    checked = report.checked
    assert (checked.members, checked.rounds, checked.codes) == (6, 9, 4)
    assert (checked.signatures, checked.approvals, checked.leaves) == (39, 43, 50)
    assert [member.is_active for member in report.members] == [True, True, True, True, False, False]
    assert [member.staked_wei for member in report.members] == [0, 2500, 4700, 0, 0, 0]
    assert [member.revenue_wei for member in report.members] == [0, 7407, 0, 0, 0, 888]


def test_a_report_tells_what_became_of_the_consortium(shown: Shown) -> None:
    report = shown.audit(honest)
    standing, funds = report.standing, report.funds
    assert [(change.version, change.what, change.quorum, change.members) for change in standing.changes.newest] == [
        (1, "founded by hospital-0, hospital-1, hospital-2, hospital-3, hospital-4", 4, 5),
        (2, "admitted hospital-5", 5, 6),
        (3, "hospital-2 changed its keys", 5, 6),
        (4, "adopted another specification", 5, 6),
        (5, "removed hospital-5", 4, 5),
        (6, "hospital-4 left", 3, 4),
    ]
    assert standing.void_rounds.newest == (VoidRounds(5, 5),)
    assert (standing.disputed_rounds.newest, standing.pauses) == ((), 1)
    assert 0 < standing.paused_until < report.block_time
    assert standing.successor is not None
    # Two forfeited bonds, a ruling over 300, and two whole stakes.
    assert [member.slashed_wei for member in report.members] == [0, 2000, 300, 5000, 5000, 0]
    assert (funds.funded_wei, funds.slashed_wei) == (9 * ETHER, 12_300)
    assert (funds.revenue_paid_wei, funds.revenue_claimed_wei) == (63_332, 8295)
    assert funds.earned_wei == sum(member.earned_wei or 0 for member in report.members)
    assert funds.claimed_wei == sum(member.claimed_wei for member in report.members)
    assert funds.claimed_wei < funds.active_wei < funds.earned_wei
    assert (funds.missing_wei, funds.surplus_wei) == (0, 0)


def test_a_vault_without_funds_fits_and_is_told() -> None:
    poor = Storm(deploy_scene(5, SPEC))
    for scores in (None, None, (1, 2, 3, 4, 5)):
        poor.play(scores=scores)
    poor.accepted("vault", "stake", 1, 5000, value=5000)
    poor.challenge(2, by=1)
    report = Shown(poor.consortium).audit(honest)
    assert report.ok
    assert report.funds.missing_wei == report.funds.earned_wei == sum(poor.cumulative) > 0
    (told,) = report.notices
    assert "cannot be claimed until it is funded" in told
    (disputed,) = report.standing.disputed_rounds.newest
    assert (disputed.round, disputed.until > report.block_time) == (2, True)


def test_a_storm_has_every_event_there_is(logs: list[Log]) -> None:
    names = {kind.name for name in artifacts.NAMES for kind in event_types(name).values()}
    assert {kind_of(log) for log in logs} == names - {"EIP712DomainChanged"}


@pytest.mark.parametrize(("code", "lie"), STORM_LIES, ids=[f"{n}-{c}" for n, (c, _) in enumerate(STORM_LIES)])
def test_a_lie_about_the_storm_is_named(shown: Shown, code: str, lie: Lie) -> None:
    assert code in codes(shown.audit(lie))


def test_any_event_left_out_is_found(shown: Shown, logs: list[Log]) -> None:
    assert len(logs) > 60
    for left_out in logs:

        def fewer(found: list[Log], left_out: Log = left_out) -> list[Log]:
            return [log for log in found if log != left_out]

        assert not shown.audit(on_logs(fewer)).ok, left_out


def without_transactions(*hashes: str) -> Lie:
    return on_logs(lambda logs: [log for log in logs if log["transactionHash"] not in hashes])


def test_a_transaction_of_which_every_event_is_left_out_is_found(shown: Shown, logs: list[Log]) -> None:
    hashes = {log["transactionHash"] for log in logs}
    assert len(hashes) > 40
    for tx in sorted(hashes):
        assert not shown.audit(without_transactions(tx)).ok, tx


@pytest.mark.parametrize(
    ("code", "cause", "places"),
    [
        ("dispute.storage", ("RoundChallenged", "RoundRulingMade"), (1, 1)),
        ("revenue.storage", ("RevenuePaid", "RevenueClaimed"), (0, 0)),
        ("revenue.storage", ("RevenuePaid", "RevenueClaimed"), (1, 1)),
    ],
    ids=["ruling", "first revenue", "last revenue"],
)
def test_transactions_that_leave_every_sum_as_it_was_are_missed(
    shown: Shown, logs: list[Log], code: str, cause: tuple[str, str], places: tuple[int, int]
) -> None:
    """A challenge and the ruling that gave its bond back; revenue that was paid and received."""
    named = [[log["transactionHash"] for log in logs if kind_of(log) == name] for name in cause]
    hidden = [mine[place] for mine, place in zip(named, places, strict=True)]
    assert code in codes(shown.audit(without_transactions(*hidden)))


@pytest.mark.slow
def test_any_two_transactions_that_are_left_out_are_found(shown: Shown, logs: list[Log]) -> None:
    for pair in combinations(sorted({log["transactionHash"] for log in logs}), 2):
        assert not shown.audit(without_transactions(*pair)).ok, pair


def test_another_block_hash_in_any_log_is_found(shown: Shown, logs: list[Log]) -> None:
    other = "0x" + "77" * 32
    for chosen in logs:

        def lie(found: list[Log], chosen: Log = chosen) -> list[Log]:
            return [log | {"blockHash": other} if log == chosen else log for log in found]

        assert "log.unreadable" in codes(shown.audit(on_logs(lie))), chosen


@pytest.mark.parametrize("round_id", range(9))
@pytest.mark.parametrize(
    "bit",
    [0, 225, 248, 249, 250, 251],
    ids=["digest", "time", "abandoned", "challenged", "dismissed", "void"],
)
def test_any_change_of_what_the_ledger_keeps_of_a_round_is_found(shown: Shown, round_id: int, bit: int) -> None:
    slot = "0x" + keccak(encode(["uint256", "uint256"], [round_id, 2])).hex()

    def other(params: list[Any], word: str) -> str:
        return f"0x{int(word, 16) ^ 1 << bit:064x}" if params[1] == slot else word

    assert not shown.audit(on_answer("eth_getStorageAt", other)).ok


def flip(text: str, random: Random) -> str:
    data = bytearray.fromhex(text[2:])
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return "0x" + data.hex()


@pytest.mark.parametrize("seed", range(4))
def test_any_changed_bit_of_any_event_is_found(shown: Shown, logs: list[Log], seed: int) -> None:
    random = Random(seed)
    for chosen in logs:
        name = kind_of(chosen)
        # The evidence of a challenge is written down nowhere else.
        is_founder = name == "MemberAdmitted" and int(chosen["topics"][1], 16) == ROTATED
        in_topics = name == "RoundChallenged" or is_founder or random.random() < 0.25 or chosen["data"] == "0x"
        place = random.randrange(1 if name in FREE_TOPICS else len(chosen["topics"]))
        if in_topics:
            topics = [flip(topic, random) if n == place else topic for n, topic in enumerate(chosen["topics"])]
            changed = chosen | {"topics": topics}
        else:
            changed = chosen | {"data": flip(chosen["data"], random)}

        def lie(found: list[Log], chosen: Log = chosen, changed: Log = changed) -> list[Log]:
            return [changed if log == chosen else log for log in found]

        assert not shown.audit(on_logs(lie)).ok, (name, chosen, changed)


def test_every_changed_view_is_found_or_refused(shown: Shown) -> None:
    calls: list[int] = []
    shown.audit(on_answer("eth_call", lambda params, result: calls.append(1) or result))
    assert len(calls) > 40
    for chosen in range(len(calls)):
        seen: list[int] = []

        def lie(params: list[Any], result: str, chosen: int = chosen, seen: list[int] = seen) -> str:
            seen.append(1)
            last = (int(result[-2:], 16) + 1) % 256
            return result[:-2] + f"{last:02x}" if len(seen) == chosen + 1 else result

        try:
            assert not shown.audit(on_answer("eth_call", lie)).ok, chosen
        except ChainUnavailable:
            continue


@pytest.mark.parametrize(
    ("contract", "name", "data", "code"),
    [
        ("RoundLedger", "RoundDisputed", b"", "dispute.bound"),
        ("RewardVault", "RevenuePaid", (1).to_bytes(32, "big"), "revenue.bound"),
    ],
)
def test_an_endpoint_that_tells_of_ever_more_is_left_alone(
    shown: Shown, logs: list[Log], monkeypatch: pytest.MonkeyPatch, contract: str, name: str, data: bytes, code: str
) -> None:
    monkeypatch.setattr(replay, "MAX_KEPT", 50)
    topic, kind = next((topic, kind) for topic, kind in event_types(contract).items() if kind.name == name)
    last = max((log for log in logs if kind_of(log) == name), key=lambda log: int(log["blockNumber"], 16))
    told = []

    def more(found: list[Log]) -> list[Log]:
        if last not in found:
            return found
        place = found.index(last)
        for number in range(1, 201):
            words = [number.to_bytes(32, "big") for _ in kind.indexed]
            topics = ["0x" + topic.hex(), *("0x" + word.hex() for word in words)]
            told.append(last | {"topics": topics, "data": "0x" + data.hex(), "logIndex": hex(1000 + number)})
        return [*found[: place + 1], *told, *found[place + 1 :]]

    assert code in codes(shown.audit(on_logs(more)))
    assert told
