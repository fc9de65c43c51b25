"""`mycelia audit`, `history`, `rewards` and `claim` where the roster changed, rounds were void and money came back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest

from ledger.books import compute_books, compute_history
from ledger.client import LedgerClient
from ledger.devchain import DevChain, DevServer
from ledger.errors import UnprovenRegistry, WrongFingerprint
from ledger.types import RoundState
from node import cli
from tests.helpers.chain import TERMS
from tests.helpers.lying_proxy import Lie, LyingProxy, honest, lying_proxy, on_answer, on_event
from tests.helpers.storm import Storm, raise_storm

pytestmark = pytest.mark.network

Mycelia = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def storm() -> Storm:
    return raise_storm()


@pytest.fixture(scope="module")
def proxy(storm: Storm) -> Iterator[LyingProxy]:
    with DevServer(DevChain(lambda: 0.0, storm.chain.tester)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            with lying_proxy(server.url) as proxy:
                yield proxy
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def client(proxy: LyingProxy, storm: Storm) -> Iterator[LedgerClient]:
    yield LedgerClient(proxy.url, storm.state.addresses["registry"])
    proxy.lie = honest


@pytest.fixture
def mycelia(
    proxy: LyingProxy, storm: Storm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Mycelia]:
    """Exit code and both outputs of a command, through an endpoint that tells a lie."""

    def run(command: str, *options: str, lie: Lie = honest) -> tuple[int, str, str]:
        proxy.lie = lie
        place = ("--rpc", proxy.url, "--registry", storm.state.addresses["registry"])
        monkeypatch.setattr("sys.argv", ["mycelia", command, *place, *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        caught = capsys.readouterr()
        return int(ended.value.code or 0), caught.out, caught.err

    yield run
    proxy.lie = honest


def test_rosters_are_told_with_what_the_ledger_held_when_they_came(client: LedgerClient) -> None:
    periods, records = client.periods(), list(client.records())
    assert [period.version for period in periods] == list(range(1, client.roster_version() + 1))
    assert periods[-1].config == client.roster().config_digest
    assert periods[-1].spec == client.roster().spec
    assert [period.recorded for period in periods] == [
        sum(record.block < period.block for record in records) for period in periods
    ]
    assert len({period.recorded for period in periods}) > 2
    assert client.periods() == periods


UNSIGNED: Lie = on_event("MemberRegistry", "Authorised", lambda values: values.update(signature=b""))
"""A member rotated its keys, as the endpoint says, and never signed that."""


def test_a_roster_is_believed_once_its_changes_are_signed(client: LedgerClient, proxy: LyingProxy) -> None:
    proxy.lie = UNSIGNED
    for read in (client.verified, client.periods):
        with pytest.raises(UnprovenRegistry, match="name another endpoint, and run mycelia audit"):
            read()
    proxy.lie = honest
    assert client.periods()[-1].config == client.verified().roster.config_digest


def test_an_endpoint_that_shows_another_founder_is_believed_no_more(
    proxy: LyingProxy, storm: Storm, client: LedgerClient
) -> None:
    true = client.verified()
    peer_id = true.roster.members[3].peer_id.encode()

    def lie(method: str, params: list[Any], answer: Any) -> Any:
        return json.loads(json.dumps(answer).replace(peer_id.hex(), (peer_id[:-1] + b"Z").hex()))

    proxy.lie = lie
    with pytest.raises(WrongFingerprint, match=r"compare ledger\.registry and ledger\.fingerprint"):
        client.verified()
    pinned = LedgerClient(proxy.url, storm.state.addresses["registry"], fingerprint=true.fingerprint)
    with pytest.raises(WrongFingerprint):
        pinned.periods()
    proxy.lie = honest
    assert client.verified() == pinned.verified() == true


def test_everything_fits_in_a_storm(mycelia: Mycelia) -> None:
    code, out, _ = mycelia("audit")
    assert (code, out.splitlines()[-1]) == (0, "everything fits")


def test_reports_of_one_block_are_equal_to_the_letter(mycelia: Mycelia) -> None:
    first = mycelia("audit", "--json")[1]
    block = str(json.loads(first)["block"])
    assert mycelia("audit", "--json", "--block", block)[1] == first
    assert mycelia("audit", "--json", "--block", "9999")[0] == 1


@pytest.mark.parametrize("name", ["registry", "ledger", "vault", "disputes"])
def test_a_false_code_at_any_address_is_a_finding_of_the_command(mycelia: Mycelia, storm: Storm, name: str) -> None:
    address = storm.state.addresses[name].lower()

    def other(params: list[Any], code: str) -> str:
        return code[:-2] + "ff" if params[0].lower() == address else code

    code, out, _ = mycelia("audit", lie=on_answer("eth_getCode", other))
    assert code == 3
    assert "FINDING code.mismatch" in out


def test_a_proxy_in_place_of_the_vault_is_a_finding(mycelia: Mycelia, storm: Storm) -> None:
    address, to = (storm.state.addresses[name].lower() for name in ("vault", "ledger"))
    clone = f"0x363d3d373d3d3d363d73{to[2:]}5af43d82803e903d91602b57fd5bf3"  # EIP-1167
    lie = on_answer("eth_getCode", lambda params, code: clone if params[0].lower() == address else code)
    code, out, _ = mycelia("audit", lie=lie)
    assert (code, "FINDING code.mismatch" in out) == (3, True)


def test_history_knows_each_rounds_own_roster_and_what_became_of_it(client: LedgerClient, storm: Storm) -> None:
    entries = compute_history(client, 20)
    assert [entry.record.result.round for entry in entries] == list(range(9))
    assert [len(entry.members) for entry in entries] == [5, 5, 5, 5, 6, 6, 6, 6, 4]
    states = {entry.record.result.round: entry.state for entry in entries}
    assert (states[5], states[6], states[7]) == (RoundState.VOID, RoundState.FINAL, RoundState.ABANDONED)
    assert sum(sum(entry.pay_wei) for entry in entries) == sum(storm.cumulative)


def test_history_is_printed_whoever_came_and_went(mycelia: Mycelia) -> None:
    code, out, _ = mycelia("history")
    assert (code, "void" in out) == (0, True)
    code, out, _ = mycelia("history", "--json")
    first, last = json.loads(out)[0], json.loads(out)[-1]
    assert (len(first["pay_wei"]), len(last["pay_wei"]), last["state"]) == (5, 6, "open")


def test_rewards_add_up_for_members_of_every_roster(client: LedgerClient, storm: Storm) -> None:
    books = compute_books(client)
    assert tuple(balance.earned_wei for balance in books.balances) == storm.cumulative
    for index, balance in enumerate(books.balances):
        assert balance.claimed_wei == storm.consortium.vault.functions.claimedWei(index).call()
        assert balance.claimed_wei + balance.due_wei + balance.waiting_wei == balance.earned_wei


def test_what_a_quorum_found_wrong_is_not_offered_for_claiming(storm: Storm, proxy: LyingProxy) -> None:
    with storm.chain.undone():
        found = LedgerClient(proxy.url, storm.state.addresses["registry"])
        wrong = storm.results[-1]
        ruling = storm.consortium.disputes.functions.ruleOnRound(*storm.round_ruling(wrong.round, is_void=True))
        storm.chain.send(ruling)
        storm.chain.tester.time_travel(storm.chain.now + TERMS.dispute_window_seconds + 1)
        storm.chain.tester.mine_block()
        assert (found.payable_round(), found.round_state(wrong.round)) == (7, RoundState.VOID)
