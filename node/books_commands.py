"""`mycelia history` and `mycelia rewards`: rounds and money, for a member or anybody else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ledger.words import exact, printable
from node.chain import client_of
from node.commands import opened
from node.errors import ConfigError
from node.keys import find_member

if TYPE_CHECKING:
    from ledger.asset import Asset
    from ledger.books import Books, Entry
    from ledger.client import LedgerClient
    from ledger.types import RoundRecord

log = structlog.get_logger()

POLL_SECONDS: Final = 2.0


def history(folder: Path | None, rpc: str | None, registry: str | None, last: int, follow: bool, as_json: bool) -> None:
    """Print the newest rounds; then, if asked to, each further one as it is recorded."""
    from ledger.books import compute_history

    client, me = _client(folder, rpc, registry)
    names = [member.name for member in client.roster().members]
    entries = compute_history(client, last)
    if as_json:
        shown = [_entry_json(entry, names) for entry in entries]
        print("\n".join(map(json.dumps, shown)) if follow else json.dumps(shown), flush=True)
    else:
        _print_history(entries, names, me, client.asset())
    if follow:
        _follow(client, names, as_json)


def rewards(folder: Path | None, rpc: str | None, registry: str | None, as_json: bool) -> None:
    """Print what each member has earned, received, and can claim."""
    from dataclasses import asdict

    from ledger.books import compute_books

    client, me = _client(folder, rpc, registry)
    books = compute_books(client)
    if as_json:
        print(json.dumps(asdict(books)))
        return
    console = Console()
    console.print(_rewards_table(books, me))
    if books.revenue_wei:
        console.print(_revenue_table(books, me))
    console.print(" ".join(_in_sentences(books)), highlight=False)


def _rewards_table(books: Books, me: int | None) -> Table:
    money = (f"{name}\n{_unit(books.asset)}" for name in ("earned", "paid", "can claim", "waits"))
    table = _table(f"After {books.rounds} rounds", ("member", "rounds", "score\nppm", *money))
    for index, balance in enumerate(books.balances):
        sums = (balance.earned_wei, balance.claimed_wei, balance.due_wei, balance.waiting_wei)
        table.add_row(
            Text(printable(balance.name)),
            str(balance.rounds),
            str(balance.score_ppm),
            *(_rounded(wei, books.asset) for wei in sums),
            style="bold" if index == me else None,
        )
    return table


def _revenue_table(books: Books, me: int | None) -> Table:
    unit = _unit(books.asset)
    table = _table("Revenue", ("member", f"paid\n{unit}", f"can claim\n{unit}"))
    for index, balance in enumerate(books.balances):
        sums = (_rounded(wei, books.asset) for wei in (balance.revenue_claimed_wei, balance.revenue_due_wei))
        table.add_row(Text(printable(balance.name)), *sums, style="bold" if index == me else None)
    return table


def _in_sentences(books: Books) -> Iterator[str]:
    def whole(wei: int) -> str:
        return f"{exact(wei, books.asset.decimals)} {_unit(books.asset)}"

    if books.asset.token is not None:
        yield f"Paid in the token {books.asset.token}, of {books.asset.decimals} decimals."
    yield f"The vault was funded with {whole(books.funded_wei)}."
    if books.unearned_wei >= 0:
        yield f"{whole(books.unearned_wei)} of it are not earned yet."
    else:
        yield f"{whole(-books.unearned_wei)} more are earned than it was funded with: fund it."
    if books.revenue_wei:
        yield f"Others paid {whole(books.revenue_wei)} for the model; members share it by what they had earned by then."
    if books.next_due_at is not None:
        yield f"The next rewards can be claimed from {_time(books.next_due_at)} on."


def _client(folder: Path | None, rpc: str | None, registry: str | None) -> tuple[LedgerClient, int | None]:
    """The deployment, and the roster index of the member in `folder`."""
    from ledger.client import LedgerClient

    if folder is not None:
        config, keys = opened(folder, rpc, registry)
        client = client_of(config.ledger)
        return client, find_member(client.roster(), keys)
    if not rpc or not registry:
        raise ConfigError("name the node's folder, or the chain with --rpc and the registry with --registry")
    return LedgerClient(rpc, registry), None


def _follow(client: LedgerClient, names: Sequence[str], as_json: bool) -> None:
    from ledger.cursor import START
    from ledger.errors import ChainUnavailable

    position, told, is_new = START, client.next_round(), False
    while True:
        try:
            step = client.follow(position)
        except ChainUnavailable as error:
            log.warning("ledger.unavailable", reason=str(error))
            time.sleep(POLL_SECONDS)
            continue
        if step.undone_from is not None and is_new:
            _say({"undone_from_block": step.undone_from}, as_json)
        for record in step.events:
            if is_new or record.result.round >= told:
                _say(_record_json(record, names), as_json)
        position = step.position
        if step.caught_up:
            is_new = True
            time.sleep(POLL_SECONDS)


def _say(line: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(line), flush=True)
    elif "undone_from_block" in line:
        print(f"the chain was reorganised: what was recorded from block {line['undone_from_block']} on is undone")
    else:
        dealers = ", ".join(map(printable, line["dealers"])) or "nobody"
        print(f"round {line['round']} {line['outcome']}: {dealers}; {line['tx']}", flush=True)


def _print_history(entries: Sequence[Entry], names: Sequence[str], me: int | None, asset: Asset) -> None:
    whose = "all members" if me is None else printable(names[me])
    left = ("recorded", "kind", "outcome", "dealers")
    columns = ("round", *left, "signed", "score\nppm", f"earned\n{_unit(asset)}")
    table = _table(f"Rounds; score and reward of {whose}", columns, left)
    for entry in entries:
        record, line = entry.record, _entry_json(entry, names)
        scores = record.scores if me is None or record.scores is None else record.scores[me : me + 1]
        pay_wei = sum(entry.pay_wei if me is None else entry.pay_wei[me : me + 1])
        absent = [printable(names[index]) for index in entry.members if names[index] not in line["dealers"]]
        everybody = "all but " + " ".join(absent) if absent else "all"
        table.add_row(
            str(record.result.round),
            _time(entry.recorded_at),
            line["kind"],
            line["outcome"] if entry.state.is_over else f"{line['outcome']}, {line['state']}",
            Text(everybody if line["dealers"] else "nobody"),
            f"{len(line['signers'])} of {len(entry.members)}",
            "" if scores is None else str(sum(scores)),
            _rounded(pay_wei, asset),
        )
    Console().print(table)


def _entry_json(entry: Entry, names: Sequence[str]) -> dict[str, Any]:
    paid = dict(zip(names, entry.pay_wei, strict=False))  # who was admitted later has no part in it
    more = {"recorded_at": entry.recorded_at, "state": entry.state.name.lower(), "pay_wei": paid}
    return _record_json(entry.record, names) | more


def _record_json(record: RoundRecord, names: Sequence[str]) -> dict[str, Any]:
    from ledger.books import kind_name
    from ledger.types import SETTLED, members_of

    result = record.result
    return {
        "round": result.round,
        "kind": kind_name(result.kind),
        "outcome": "settled" if result.outcome == SETTLED else "abandoned",
        "dealers": [names[index] for index in members_of(result.dealers)],
        "signers": [names[index] for index in members_of(record.signers)],
        "scores_ppm": None if record.scores is None else dict(zip(names, record.scores, strict=False)),
        "model_digest": result.model.hex(),
        "block": record.block,
        "tx": record.tx,
    }


def _table(title: str, columns: Sequence[str], left: Sequence[str] = ("member",)) -> Table:
    table = Table(title=escape(title), box=SIMPLE_HEAD, padding=(0, 0, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right", no_wrap=column != "dealers")
    return table


def _unit(asset: Asset) -> str:
    return "ether" if asset.token is None else "tokens"


def _rounded(wei: int, asset: Asset) -> str:
    return f"{wei / 10**asset.decimals:.{min(6, asset.decimals)}f}"


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
