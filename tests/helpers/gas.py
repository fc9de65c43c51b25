"""What every external function costs, for 4, 16 and 64 members; `make gas` writes contracts/gas.json with it.

Each figure is that of a call with everything in it: money, scores, a quorum of signatures; the worse one where the
first call of its kind costs more is a line of its own.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from eth_hash.auto import keccak

from ledger.approvals import (
    Admission,
    Approval,
    Exit,
    MemberRuling,
    Pause,
    Removal,
    Rotation,
    RoundRuling,
    SpecChange,
    Statement,
    Succession,
)
from ledger.rewards import pack_scores, rewards_proof, rewards_root, scores_digest
from ledger.types import DAY_SECONDS
from tests.helpers.chain import (
    DISPUTES,
    ETHER,
    SPEC,
    TERMS,
    Chain,
    Consortium,
    compact_signature,
    deploy_consortium,
    entries,
    entry,
    key_of,
)

SIZES: Final = (4, 16, 64)
TABLE: Final = Path(__file__).parents[2] / "contracts" / "gas.json"
EVIDENCE: Final = keccak(b"evidence")


def measure(n: int) -> dict[str, int]:
    """Gas of every external function with `n` members."""
    # The account that sends pays gas; members' accounts have to be able to send as well.
    consortium = deploy_consortium(n)
    gas = _rounds(consortium) | _money(consortium)
    gas |= _disputes(consortium)
    gas |= _changes(consortium) | _token(n)
    gas["deploy MemberRegistry"] = _deployment(n)
    return dict(sorted(gas.items()))


def table() -> dict[str, dict[str, int]]:
    """Function, then number of members, then gas."""
    found = {n: measure(n) for n in SIZES}
    return {name: {str(n): found[n][name] for n in SIZES} for name in found[SIZES[0]]}


def _used(consortium: Consortium, call: Any, **options: Any) -> int:
    return int(consortium.chain.send(call, **options)["gasUsed"])


def _member(consortium: Consortium, index: int) -> str:
    """The member's account, able to send."""
    return consortium.chain.adopt(key_of(f"account {index}"))


def _by_account(consortium: Consortium, index: int, approval: Approval) -> bytes:
    """What the member's account signs for the registry."""
    digest = approval.signing_digest(consortium.chain_id, consortium.registry.address)
    return compact_signature(key_of(f"account {index}"), digest)


def _submitted(consortium: Consortium) -> int:
    """Gas of the next round, with scores and rewards."""
    scores = [12_345 * index - 1_000 for index in range(consortium.n)]
    cumulative = [ETHER + index for index in range(consortium.n)]
    result = consortium.result(
        scores=scores_digest(scores), rewards=rewards_root(cumulative), rewards_total=sum(cumulative)
    )
    used = _used(consortium, consortium.submission(result, pack_scores(scores)))
    consortium.results.append(result)
    return used


def _rounds(consortium: Consortium) -> dict[str, int]:
    gas = {"submitRound": max(_submitted(consortium) for _ in range(5))}
    until = consortium.chain.now + 100
    signers, signed = consortium.approve(Pause(consortium.config, 0, until), consortium.ledger)
    gas["pause"] = _used(consortium, consortium.ledger.functions.pause(until, signers, signed))
    consortium.chain.travel_to(until + 1)
    return gas


def _money(consortium: Consortium) -> dict[str, int]:
    chain, vault, n = consortium.chain, consortium.vault.functions, consortium.n
    first, later = [ETHER + index for index in range(n)], [2 * ETHER + index for index in range(n)]
    gas = {"fund, the first": _used(consortium, vault.fund(1), value=1)}
    gas["fund"] = _used(consortium, vault.fund(1), value=1)
    gas["stake, a member's first"] = _used(consortium, vault.stake(1, ETHER), value=ETHER)
    gas["stake"] = _used(consortium, vault.stake(1, ETHER), value=ETHER)
    consortium.activate_rewards(first)
    gas["payRevenue, the first of a root"] = _used(consortium, vault.payRevenue(ETHER), value=ETHER)
    gas["payRevenue"] = _used(consortium, vault.payRevenue(ETHER), value=ETHER)
    proof = rewards_proof(first, 1)
    gas["claim, a member's first, to an account new to the chain"] = _used(consortium, vault.claim(1, first[1], proof))
    round_id = vault.activeRound().call()
    gas["claimRevenue"] = _used(consortium, vault.claimRevenue(round_id, 1, first[1], proof))
    result = consortium.record_rewards(later)
    consortium.fund(sum(later))
    chain.travel_to(chain.now + TERMS.dispute_window_seconds + 1)
    gas["activate"] = _used(consortium, vault.activate(result.as_tuple()))
    gas["claim"] = _used(consortium, vault.claim(1, later[1], rewards_proof(later, 1)))
    account = _member(consortium, 1)
    gas["requestUnstake"] = _used(consortium, vault.requestUnstake(1, ETHER), sender=account)
    chain.travel_to(chain.now + 3 * DAY_SECONDS)
    gas["withdrawStake"] = _used(consortium, vault.withdrawStake(1))
    return gas


def _disputes(consortium: Consortium) -> dict[str, int]:
    chain, functions, n = consortium.chain, consortium.disputes.functions, consortium.n
    account, gas = _member(consortium, 1), {}
    for verdict, name in ((True, "ruleOnRound, void"), (False, "ruleOnRound, dismissed")):
        round_id = consortium.record().round
        gas["challenge"] = _used(consortium, functions.challenge(round_id, 1, EVIDENCE), sender=account)
        ruling = RoundRuling(consortium.config, round_id, verdict, EVIDENCE)
        signers, signed = consortium.approve(ruling, consortium.disputes)
        gas[name] = _used(consortium, functions.ruleOnRound(round_id, verdict, EVIDENCE, signers, signed))
    round_id = consortium.record().round
    chain.send(functions.challenge(round_id, 1, EVIDENCE), sender=account)
    chain.travel_to(chain.now + TERMS.dispute_window_seconds + DISPUTES.ruling_seconds)
    gas["lapse"] = _used(consortium, functions.lapse(round_id))

    signers, signed = consortium.approve(MemberRuling(consortium.config, 1, 5, EVIDENCE), consortium.disputes)
    gas["ruleOnMember"] = _used(consortium, functions.ruleOnMember(1, 5, EVIDENCE, signers, signed))
    chain.send(consortium.vault.functions.requestUnstake(1, 7), sender=account)
    gas |= _equivocations(consortium, n - 1) | _equivocations(consortium, 1)
    return gas


def _equivocations(consortium: Consortium, index: int) -> dict[str, int]:
    statement = Statement(consortium.config, 7, 4, 1, 2, EVIDENCE)
    other = replace(statement, digest=keccak(b"other"))
    key, ledger = consortium.signer_keys[index], consortium.ledger.address
    signed = [compact_signature(key, said.signing_digest(consortium.chain_id, ledger)) for said in (statement, other)]
    prove = consortium.disputes.functions.proveEquivocation(index, statement.as_tuple(), other.digest, *signed)
    gas = {"proveEquivocation": _used(consortium, prove)}
    consortium.chain.send(consortium.vault.functions.stake(index, ETHER), value=ETHER)
    first = consortium.result()
    second = replace(first, model=EVIDENCE)
    both = [compact_signature(key, said.signing_digest(consortium.chain_id, ledger)) for said in (first, second)]
    prove = consortium.disputes.functions.proveResultEquivocation(index, first.as_tuple(), second.as_tuple(), *both)
    return gas | {"proveResultEquivocation": _used(consortium, prove)}


def _changes(consortium: Consortium) -> dict[str, int]:
    chain, functions, n = consortium.chain, consortium.registry.functions, consortium.n
    gas = {}

    def approved(approval: Any) -> tuple[int, bytes]:
        return consortium.approve(approval, consortium.registry)

    spec, number = b'{"task":"another"}', 0
    change = approved(SpecChange(consortium.config, number, keccak(spec)))
    gas["proposeSpec"] = _used(consortium, functions.proposeSpec(spec, *change))
    chain.travel_to(chain.now + DAY_SECONDS + 1)
    gas["adoptSpec"] = _used(consortium, functions.adoptSpec(spec))
    gas["submitRound, the first after a change"] = _submitted(consortium)
    named = approved(Succession(consortium.config, consortium.ledger.address))
    gas["nameSuccessor"] = _used(consortium, functions.nameSuccessor(consortium.ledger.address, *named))
    new = entry(n - 1)
    rotated = (new.account, new.signer, b"12D3KooW" + b"z" * 44, "10.9.9.9:4001")
    signed_by_account = _by_account(consortium, n - 1, Rotation(consortium.config, n - 1, *rotated))
    gas["rotate"] = _used(consortium, functions.rotate(n - 1, *rotated, signed_by_account))
    removal = approved(Removal(consortium.config, n - 1, EVIDENCE))
    with chain.undone():
        leaving = _by_account(consortium, n - 1, Exit(consortium.config, n - 1))
        gas["leaveRoster"] = _used(consortium, functions.leaveRoster(n - 1, leaving))
    if n > 3:
        gas["remove"] = _used(consortium, functions.remove(n - 1, EVIDENCE, *removal))
    newcomer = entry(n)
    admission = Admission(consortium.config, *newcomer)
    active = range(2 * (n - 1) // 3 + 1)
    signers, signed = consortium.approve(admission, consortium.registry, active)
    gas["admit"] = _used(consortium, functions.admit(tuple(newcomer), signers, signed))
    return gas


def _token(n: int) -> dict[str, int]:
    """The same with an ERC-20 token whose transfer costs what a plain one does."""
    chain = Chain()
    token = chain.deploy_mock("PlainToken")
    consortium = deploy_consortium(n, chain=chain, disputes=replace(DISPUTES, asset=token.address))
    vault = consortium.vault.functions
    chain.send(token.functions.mint(chain.deployer, 10**24))
    chain.send(token.functions.approve(consortium.vault.address, 10**24))
    chain.send(vault.fund(4 * n * ETHER))
    gas = {"stake, a member's first, in tokens": _used(consortium, vault.stake(1, ETHER))}
    gas["stake, in tokens"] = _used(consortium, vault.stake(1, ETHER))
    first, later = [ETHER] * n, [2 * ETHER] * n
    for cumulative, name in ((first, "claim, a member's first, in tokens"), (later, "claim, in tokens")):
        result = consortium.record_rewards(cumulative)
        chain.travel_to(chain.now + TERMS.dispute_window_seconds + 1)
        chain.send(vault.activate(result.as_tuple()))
        gas[name] = _used(consortium, vault.claim(1, cumulative[1], rewards_proof(cumulative, 1)))
    return gas


def _deployment(n: int) -> int:
    chain = Chain()
    others = (chain.predicted(ahead) for ahead in (1, 2, 3))
    return int(chain.send(chain.construction("MemberRegistry", entries(n), SPEC, *others))["gasUsed"])


def main() -> None:
    found = table()
    TABLE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("| function | " + " | ".join(f"n = {n}" for n in SIZES) + " |")
    print("|---" * (1 + len(SIZES)) + "|")
    for name, figures in found.items():
        print(f"| {name} | " + " | ".join(f"{figure:,}" for figure in figures.values()) + " |")


if __name__ == "__main__":
    main()
