"""`mycelia history` and `mycelia rewards`: rounds and money, for a member or anybody else."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from node.audit_page import ether
from node.commands import opened
from node.errors import ConfigError
from node.keys import find_member

if TYPE_CHECKING:
    from ledger.books import Entry
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
        _print_history(entries, names, me)
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
    columns = ("member", "rounds", "score\nppm", "earned\nether", "paid\nether", "can claim\nether", "waits\nether")
    table = _table(f"After {books.rounds} rounds", columns)
    for index, balance in enumerate(books.balances):
        sums = (balance.earned_wei, balance.claimed_wei, balance.due_wei, balance.waiting_wei)
        table.add_row(
            Text(_printable(balance.name)),
            str(balance.rounds),
            str(balance.score_ppm),
            *map(_rounded_ether, sums),
            style="bold" if index == me else None,
        )
    console = Console()
    console.print(table)
    lines = [f"The vault was funded with {ether(books.funded_wei)} ether."]
    lines += [f"{ether(books.unearned_wei)} ether of it are not earned yet."] if books.unearned_wei >= 0 else []
    if books.unearned_wei < 0:
        lines.append(f"{ether(-books.unearned_wei)} ether more are earned than it was funded with: fund it.")
    if books.next_due_at is not None:
        lines.append(f"The next rewards can be claimed from {_time(books.next_due_at)} on.")
    console.print(" ".join(lines), highlight=False)


def _client(folder: Path | None, rpc: str | None, registry: str | None) -> tuple[LedgerClient, int | None]:
    """The deployment, and the roster index of the member in `folder`."""
    from ledger.client import LedgerClient

    if folder is not None:
        config, keys = opened(folder, rpc, registry)
        client = LedgerClient(config.ledger.rpc, config.ledger.registry, expect_chain_id=config.ledger.chain_id)
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
        dealers = ", ".join(map(_printable, line["dealers"])) or "nobody"
        print(f"round {line['round']} {line['outcome']}: {dealers}; {line['tx']}", flush=True)


def _print_history(entries: Sequence[Entry], names: Sequence[str], me: int | None) -> None:
    whose = "all members" if me is None else _printable(names[me])
    left = ("recorded", "kind", "outcome", "dealers")
    columns = ("round", *left, "signed", "score\nppm", "earned\nether")
    table = _table(f"Rounds; score and reward of {whose}", columns, left)
    for entry in entries:
        record, line = entry.record, _entry_json(entry, names)
        scores = record.scores if me is None or record.scores is None else record.scores[me : me + 1]
        pay_wei = sum(entry.pay_wei if me is None else entry.pay_wei[me : me + 1])
        absent = [_printable(names[index]) for index in entry.members if names[index] not in line["dealers"]]
        everybody = "all but " + " ".join(absent) if absent else "all"
        table.add_row(
            str(record.result.round),
            _time(entry.recorded_at),
            line["kind"],
            line["outcome"] if entry.state.is_over else f"{line['outcome']}, {line['state']}",
            Text(everybody if line["dealers"] else "nobody"),
            f"{len(line['signers'])} of {len(entry.members)}",
            "" if scores is None else str(sum(scores)),
            _rounded_ether(pay_wei),
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


def _rounded_ether(wei: int) -> str:
    return f"{wei / 10**18:.6f}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
