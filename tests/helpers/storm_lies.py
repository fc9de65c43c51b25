"""What an endpoint can say about a storm that did not happen, each with the code that names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from ledger.trail import event_types
from ledger.types import RoundResult
from tests.helpers.lying_proxy import Lie, Log, on_answer, on_event, on_logs, on_topic, without
from tests.helpers.scene import OTHER

Change = Callable[[dict[str, Any]], Any]

STRANGER: Final = "0x" + "ab" * 20
FAR: Final = 2**63


def setting(**changes: Any) -> Change:
    return lambda values: values.update(changes)


def add(name: str, amount: int) -> Change:
    return lambda values: values.update({name: values[name] + amount})


def flipped(name: str) -> Change:
    """Another first bit of these bytes."""
    return lambda values: values.update({name: bytes([values[name][0] ^ 1]) + values[name][1:]})


def cut(name: str) -> Change:
    return lambda values: values.update({name: values[name][:-1]})


def one_fewer(values: dict[str, Any]) -> None:
    """Without the first signer and its signature."""
    bitmap: int = values["signers"]
    values.update(signers=bitmap & (bitmap - 1), signatures=values["signatures"][64:])


def statement(**changes: Any) -> Change:
    """Other fields of an event's statement."""
    names = ("config", "round", "kind", "attempt", "subject", "digest")

    def change(values: dict[str, Any]) -> None:
        found = dict(zip(names, values["statement"], strict=True)) | changes
        values["statement"] = tuple(found[name] for name in names)

    return change


def second_result(**changes: Any) -> Change:
    def change(values: dict[str, Any]) -> None:
        values["second"] = replace(RoundResult(*values["second"]), **changes).as_tuple()

    return change


def of_old_roster(logs: list[Log], round_id: int) -> list[Log]:
    """The result of this round names the roster of round 0."""
    topic = "0x" + next(t for t, kind in event_types("RoundLedger").items() if kind.name == "RoundRecorded").hex()
    rounds = [log for log in logs if log["topics"][0] == topic]
    if len(rounds) > round_id:
        first, later = rounds[0]["data"], rounds[round_id]["data"]
        # 0x, then words of 64 digits: the digest, and the result, whose fifth is the config digest.
        start, end = 2 + 5 * 64, 2 + 6 * 64
        rounds[round_id]["data"] = later[:start] + first[start:end] + later[end:]
    return logs


def again(contract: str, name: str) -> Lie:
    """The event comes a second time, one block later."""
    topic = "0x" + next(t for t, kind in event_types(contract).items() if kind.name == name).hex()

    def twice(logs: list[Log]) -> list[Log]:
        told: list[Log] = []
        for log in logs:
            told.append(log)
            if log["topics"][0] == topic:
                told.append(log | {"logIndex": hex(int(log["logIndex"], 16) + 1)})
        return told

    return on_logs(twice)


def without_place(contract: str, name: str, place: int) -> Lie:
    """The `place`-th event of this name is left out."""
    topic = "0x" + next(t for t, kind in event_types(contract).items() if kind.name == name).hex()

    def fewer(logs: list[Log]) -> list[Log]:
        mine = [log for log in logs if log["topics"][0] == topic]
        return [log for log in logs if len(mine) <= place or log is not mine[place]]

    return on_logs(fewer)


def at_time(change: Callable[[int], int]) -> Lie:
    """Blocks have other times."""
    return on_answer(
        "eth_getBlockByNumber",
        lambda params, header: header | {"timestamp": hex(change(int(header["timestamp"], 16)))},
    )


REGISTRY, LEDGER, VAULT, DISPUTES = "MemberRegistry", "RoundLedger", "RewardVault", "Disputes"

STORM_LIES: Final = [
    *(
        ("code.creation", on_answer("eth_getTransactionByHash", lambda _, found, change=change: found | change))
        for change in ({"input": "0x6001"}, {"to": STRANGER}, {"from": STRANGER}, {"nonce": "0x7"})
    ),
    ("roster.approval", without(REGISTRY, "Approved")),
    ("roster.approval", without(REGISTRY, "Authorised")),
    ("roster.approval", without(REGISTRY, "SuccessorNamed")),
    *(("roster.approval", on_event(REGISTRY, "Approved", one_fewer, place)) for place in range(4)),
    *(("roster.approval", on_event(REGISTRY, "Approved", flipped("signatures"), place)) for place in range(4)),
    *(("roster.approval", on_event(REGISTRY, "Approved", flipped("approved"), place)) for place in range(4)),
    ("roster.approval", on_event(REGISTRY, "Approved", cut("signatures"), 1)),
    ("roster.approval", on_event(REGISTRY, "Approved", setting(signers=0b1001111), 1)),
    *(("roster.approval", on_event(REGISTRY, "Authorised", flipped("signature"), place)) for place in range(2)),
    *(("roster.approval", on_event(REGISTRY, "Authorised", flipped("authorised"), place)) for place in range(2)),
    *(("roster.approval", on_event(REGISTRY, "Authorised", setting(signature=b""), place)) for place in range(2)),
    ("roster.approval", on_topic(REGISTRY, "Approved", 7, place=1)),
    ("roster.approval", on_topic(REGISTRY, "Authorised", 7, place=1)),
    ("roster.approval", on_event(REGISTRY, "MemberRemoved", setting(evidence=OTHER))),
    ("roster.approval", on_event(REGISTRY, "MemberRotated", setting(account=STRANGER))),
    ("roster.approval", on_event(REGISTRY, "MemberRotated", setting(netAddress="10.9.9.9:1"))),
    ("roster.approval", on_event(REGISTRY, "MemberAdmitted", setting(name="another"), 5)),
    ("roster.approval", on_event(REGISTRY, "SuccessorNamed", setting(successor=STRANGER))),
    ("roster.storage", on_event(REGISTRY, "SuccessorNamed", setting(successor=STRANGER))),
    ("roster.member", on_topic(REGISTRY, "MemberRemoved", 200)),
    ("roster.member", on_topic(REGISTRY, "MemberLeft", 5)),
    ("roster.member", on_topic(REGISTRY, "MemberRotated", 200)),
    ("roster.change", without(REGISTRY, "MemberRemoved")),
    ("roster.change", without(REGISTRY, "MemberLeft")),
    ("roster.change", without(REGISTRY, "MemberRotated")),
    ("roster.change", without_place(REGISTRY, "RosterChanged", 2)),
    ("roster.rotation", at_time(lambda time: time + 1)),
    ("roster.rotation", again(REGISTRY, "MemberRotated")),
    ("spec.delay", on_event(REGISTRY, "SpecProposed", add("adoptableAt", 1))),
    ("spec.delay", on_topic(REGISTRY, "SpecProposed", 3)),
    ("spec.delay", without(REGISTRY, "SpecProposed")),
    ("spec.delay", at_time(lambda time: 10**9)),
    ("spec.digest", on_event(REGISTRY, "SpecProposed", setting(spec=b'{"rounds":9}'))),
    ("round.superseded", on_logs(lambda logs: of_old_roster(logs, 5))),
    ("round.paused", on_event(LEDGER, "Paused", setting(until=FAR))),
    ("round.state", without(LEDGER, "Paused")),
    ("pause.approval", on_event(LEDGER, "Paused", flipped("signatures"))),
    ("pause.approval", on_event(LEDGER, "Paused", one_fewer)),
    ("pause.approval", on_event(LEDGER, "Paused", flipped("config"))),
    ("pause.approval", on_event(LEDGER, "Paused", add("until", -1))),
    ("pause.terms", on_topic(LEDGER, "Paused", 5)),
    ("pause.terms", on_event(LEDGER, "Paused", setting(until=FAR))),
    ("root.early", at_time(lambda time: 10**9)),
    ("root.void", on_event(DISPUTES, "RoundRulingMade", setting(below=7), 1)),
    ("root.unfunded", on_event(VAULT, "Funded", setting(amountWei=1))),
    ("stake.member", on_topic(VAULT, "Staked", 200)),
    ("stake.member", on_topic(VAULT, "Staked", 5)),
    ("stake.member", on_topic(VAULT, "Slashed", 200)),
    ("stake.amount", on_event(VAULT, "Staked", setting(amountWei=1))),
    ("stake.amount", on_event(VAULT, "StakeWithdrawn", add("amountWei", -1))),
    ("stake.early", on_event(VAULT, "UnstakeRequested", add("releaseAt", -1))),
    ("stake.early", at_time(lambda time: 10**9)),
    ("stake.account", on_event(VAULT, "StakeWithdrawn", setting(account=STRANGER))),
    ("stake.storage", on_event(VAULT, "Staked", add("amountWei", 1))),
    ("stake.storage", without(VAULT, "StakeWithdrawn")),
    ("revenue.round", on_topic(VAULT, "RevenuePaid", 3)),
    ("revenue.round", without(VAULT, "RevenuePaid")),
    ("revenue.share", on_event(VAULT, "RevenueClaimed", add("amountWei", 1))),
    ("revenue.share", on_event(VAULT, "RevenuePaid", setting(amountWei=1))),
    ("revenue.account", on_event(VAULT, "RevenueClaimed", setting(account=STRANGER))),
    ("revenue.storage", on_event(VAULT, "RevenuePaid", add("amountWei", 5_000), 1)),
    ("revenue.storage", without(VAULT, "RevenueClaimed")),
    ("dispute.proof", on_event(DISPUTES, "EquivocationProven", flipped("otherDigest"))),
    ("dispute.proof", on_event(DISPUTES, "EquivocationProven", flipped("signature"))),
    ("dispute.proof", on_event(DISPUTES, "EquivocationProven", flipped("otherSignature"))),
    ("dispute.proof", on_event(DISPUTES, "EquivocationProven", statement(digest=OTHER))),
    ("dispute.proof", on_event(DISPUTES, "EquivocationProven", statement(attempt=9))),
    ("dispute.proof", on_event(DISPUTES, "EquivocationProven", statement(config=OTHER))),
    ("dispute.proof", on_topic(DISPUTES, "EquivocationProven", 200)),
    ("dispute.proof", on_event(DISPUTES, "ResultEquivocationProven", second_result(round=3))),
    ("dispute.proof", on_event(DISPUTES, "ResultEquivocationProven", lambda v: v.update(second=v["first"]))),
    ("dispute.proof", on_event(DISPUTES, "ResultEquivocationProven", flipped("secondSignature"))),
    ("dispute.repeated", again(DISPUTES, "EquivocationProven")),
    ("dispute.repeated", again(DISPUTES, "MemberRulingMade")),
    ("dispute.quorum", on_event(DISPUTES, "RoundRulingMade", flipped("signatures"))),
    ("dispute.quorum", on_event(DISPUTES, "RoundRulingMade", one_fewer, 1)),
    ("dispute.quorum", on_event(DISPUTES, "RoundRulingMade", flipped("config"))),
    ("dispute.quorum", on_event(DISPUTES, "RoundRulingMade", setting(isVoid=True))),
    ("dispute.quorum", on_event(DISPUTES, "MemberRulingMade", setting(evidence=OTHER))),
    ("dispute.state", on_event(DISPUTES, "MemberRulingMade", setting(slashedWei=301))),
    ("dispute.state", without(DISPUTES, "RoundChallenged")),
    ("dispute.state", again(DISPUTES, "RoundChallenged")),
    ("dispute.state", again(DISPUTES, "ChallengeLapsed")),
    ("dispute.state", at_time(lambda time: 2**33)),
    ("dispute.state", at_time(lambda time: 10**9)),
    ("dispute.echo", on_event(VAULT, "Slashed", add("stakedWei", -1))),
    ("dispute.echo", on_event(VAULT, "BondReleased", setting(isForfeited=True), 1)),
    ("dispute.echo", without(LEDGER, "RoundDisputed")),
    ("dispute.echo", without(LEDGER, "RoundRuled")),
    ("dispute.echo", without(VAULT, "BondLocked")),
    ("dispute.echo", on_event(LEDGER, "RoundRuled", setting(isVoid=True))),
    ("dispute.storage", without(DISPUTES, "ChallengeLapsed")),
    ("dispute.storage", on_event(DISPUTES, "RoundRulingMade", setting(isVoid=True))),
    ("vault.terms", without(DISPUTES, "BondAdopted")),
    ("vault.terms", without(LEDGER, "WindowsAdopted")),
    ("vault.terms", without(VAULT, "StakeTermsAdopted")),
    ("vault.terms", on_event(DISPUTES, "BondAdopted", add("bondWei", 1))),
    ("vault.storage", on_event(VAULT, "Slashed", add("unbondingWei", -1))),
    ("vault.balance", on_answer("eth_getBalance", lambda params, found: hex(int(found, 16) - 1))),
    ("claim.account", on_event(VAULT, "RewardClaimed", setting(account=STRANGER), 2)),
]  # fmt: skip
