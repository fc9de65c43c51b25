"""join, approve, remove, leave and rotate: requests travel as files, and every mistake is one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ledger.client import LedgerClient
from ledger.deploy import deploy, send_wei
from ledger.devchain import DEV_KEYS, running
from ledger.errors import GasTooExpensive, Reverted, UnprovenRegistry, WrongFingerprint
from ledger.types import VaultTerms
from node import commands, membership
from node.chain import client_of
from node.change_requests import MAX_REQUEST_BYTES
from node.errors import ConfigError
from node.keys import load_keys
from node.members import MEMBER_FILE, read_roster
from tests.helpers.lying_proxy import lying_proxy

NAMES = ("north", "south", "east", "west")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of four members, with coins for gas where there is a chain, and of a newcomer."""
    path = tmp_path_factory.mktemp("nodes")
    for number, name in enumerate((*NAMES, "new")):
        commands.init(path / name, name, "my_task:task", "127.0.0.1", 4001 + number, [])
    return path


@contextmanager
def deployed(folders: Path, path: Path) -> Iterator[SimpleNamespace]:
    shutil.copytree(folders, path, dirs_exist_ok=True)
    roster = read_roster([path / name / MEMBER_FILE for name in NAMES])
    with running() as server:
        registry = deploy(server.url, DEV_KEYS[0], roster, b"{}", VaultTerms(1, 1, 0), 0).registry
        for name in NAMES:
            send_wei(server.url, DEV_KEYS[0], load_keys(path / name).signer_address, 10**18)
        where = (server.url, registry)
        yield SimpleNamespace(path=path, where=where, client=LedgerClient(*where), request=path / "r.json")


@pytest.fixture
def there(folders: Path, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """The folders, and the registry of the four members."""
    with deployed(folders, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def unchanged(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The same for tests of what is refused: nothing on the chain changes."""
    with deployed(folders, tmp_path_factory.mktemp("unchanged")) as found:
        yield found


def approve(there: SimpleNamespace, name: str, *paths: Path, submit: bool = True) -> None:
    membership.approve(there.path / name, paths or [there.request], *there.where, submit)


def join(there: SimpleNamespace, name: str = "new") -> None:
    membership.join(there.path / name, *there.where, there.request)


def test_a_newcomer_is_admitted_by_a_quorum_that_passes_the_file_on(
    there: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    join(there)
    assert capsys.readouterr().out.endswith("r.json: give it to the members; 3 of 4 have to approve it\n")
    for name in NAMES[:2]:
        approve(there, name)
    assert capsys.readouterr().out.endswith("r.json: 2 of 3 approvals\n")
    approve(there, "west")
    assert capsys.readouterr().out.startswith("0x")
    roster = there.client.roster()
    assert [member.name for member in roster.members] == [*NAMES, "new"]
    assert (roster.version, roster.quorum) == (2, 4)


def test_copies_that_others_approved_are_put_together(there: SimpleNamespace) -> None:
    join(there)
    copies = [there.path / f"{name}.json" for name in NAMES[:2]]
    for name, copy in zip(NAMES, copies, strict=False):
        copy.write_bytes(there.request.read_bytes())
        approve(there, name, copy)
    approve(there, "east", there.request, *copies)
    assert there.client.roster().version == 2


def test_a_removed_member_keeps_its_place_and_loses_its_signature(there: SimpleNamespace) -> None:
    evidence = there.path / "minutes.txt"
    evidence.write_text("it sold the data")
    membership.remove(there.path / "north", "west", *there.where, evidence, there.request)
    for name in ("south", "east"):
        approve(there, name)
    roster = there.client.roster()
    assert (roster.active, roster.quorum) == (0b0111, 3)
    assert roster.members[3].name == "west"
    with pytest.raises(ConfigError, match="west is no longer a member"):
        membership.leave(there.path / "west", *there.where)


def test_a_member_leaves_and_the_last_three_stay(there: SimpleNamespace) -> None:
    membership.leave(there.path / "west", *there.where)
    assert there.client.roster().active == 0b0111
    with pytest.raises(ConfigError, match="a consortium keeps at least 3 members"):
        membership.leave(there.path / "east", *there.where)


def test_a_member_rotates_to_the_keys_of_another_folder_once_a_day(there: SimpleNamespace) -> None:
    membership.rotate(there.path / "south", there.path / "new", *there.where)
    member = there.client.roster().members[1]
    keys = load_keys(there.path / "new")
    found = (member.name, member.account, member.signer, member.peer_id, member.port)
    assert found == ("south", keys.account_address, keys.signer_address, keys.peer_id, 4005)
    commands.init(there.path / "newer", "south", "my_task:task", "127.0.0.1", 4009, [])
    send_wei(there.where[0], DEV_KEYS[0], keys.signer_address, 10**18)
    with pytest.raises(Reverted, match="RotatedTooRecently"):
        membership.rotate(there.path / "new", there.path / "newer", *there.where)


def test_a_cold_account_key_is_asked_for(there: SimpleNamespace) -> None:
    for name in ("south", "new"):
        (there.path / name / "account.key").unlink()
    with pytest.raises(ConfigError, match=r"signed by the member's account: put its account\.key into"):
        membership.leave(there.path / "south", *there.where)
    with pytest.raises(ConfigError, match="a request to join is signed by the account as well"):
        join(there)


def test_a_request_of_an_earlier_roster_is_void(there: SimpleNamespace) -> None:
    join(there)
    membership.leave(there.path / "west", *there.where)
    with pytest.raises(ConfigError, match=r"the roster has changed since .* run `mycelia join` anew"):
        approve(there, "north")


def test_what_a_member_notes_in_its_own_entry_does_not_travel(unchanged: SimpleNamespace, tmp_path: Path) -> None:
    home = tmp_path / "noted"
    shutil.copytree(unchanged.path / "new", home)
    entry = json.loads((home / MEMBER_FILE).read_text())
    (home / MEMBER_FILE).write_text(json.dumps(entry | {"note": ["ours", 5]}))
    membership.join(home, *unchanged.where, unchanged.request)
    approve(unchanged, "north", submit=False)
    assert json.loads(unchanged.request.read_text())["entry"] == entry


def test_who_comes_after_the_submission_is_told_that_it_is_done(
    there: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    join(there)
    late = there.path / "late.json"
    late.write_bytes(there.request.read_bytes())
    for name in NAMES[:3]:
        approve(there, name)
    capsys.readouterr()
    for path in (there.request, late):
        before = path.read_bytes()
        approve(there, "west", path)
        assert capsys.readouterr().out == f"new is member 4: what {path} asks for is done\n"
        assert path.read_bytes() == before
    entry = json.loads(late.read_text())["entry"]
    late.write_text(json.dumps(json.loads(late.read_text()) | {"entry": entry | {"address": "127.0.0.1:4999"}}))
    with pytest.raises(ConfigError, match="the roster has changed since"):
        approve(there, "west", late)


def test_who_comes_after_the_removal_is_told_that_it_is_done(
    there: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    membership.remove(there.path / "north", "west", *there.where, None, there.request)
    other = there.path / "other.json"
    membership.remove(there.path / "north", "east", *there.where, None, other)
    for name in ("south", "east"):
        approve(there, name)
    capsys.readouterr()
    approve(there, "east")
    assert capsys.readouterr().out == f"west, member 3, is a member no more: what {there.request} asks for is done\n"
    with pytest.raises(ConfigError, match=r"the roster has changed since .* run `mycelia remove` anew"):
        approve(there, "east", other)
    changed(there, index=4)
    with pytest.raises(ConfigError, match="the roster has changed since"):
        approve(there, "east")


def test_who_is_overtaken_while_submitting_is_told_that_it_is_done(
    there: SimpleNamespace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    join(there)
    for name in NAMES[:2]:
        approve(there, name)
    copy = there.path / "copy.json"
    copy.write_bytes(there.request.read_bytes())
    submit = membership._submit

    def overtaken(*args: Any) -> str:
        monkeypatch.setattr(membership, "_submit", submit)
        approve(there, "west", copy)
        return submit(*args)

    monkeypatch.setattr(membership, "_submit", overtaken)
    approve(there, "east")
    assert capsys.readouterr().out.endswith(f"new is member 4: what {there.request} asks for is done\n")
    assert there.client.roster().version == 2


def test_somebody_who_is_a_member_does_not_join(unchanged: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="the member north has the name north already"):
        join(unchanged, "north")


def test_only_members_approve(unchanged: SimpleNamespace) -> None:
    join(unchanged)
    with pytest.raises(ConfigError, match="has no member with the signer"):
        approve(unchanged, "new")


def test_nobody_who_is_not_there_is_removed(unchanged: SimpleNamespace) -> None:
    with pytest.raises(ConfigError, match="no active member is called 'nobody'; there are north, south, east, west"):
        membership.remove(unchanged.path / "north", "nobody", *unchanged.where, None, unchanged.request)


def test_what_gas_may_cost_comes_from_the_configuration(
    unchanged: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MYCELIA_LEDGER_MAX_GAS_PRICE_GWEI", "0")
    with pytest.raises(GasTooExpensive, match="at most 0 are allowed"):
        membership.leave(unchanged.path / "west", *unchanged.where)
    config, keys = commands.opened(unchanged.path / "west", *unchanged.where)
    with pytest.raises(GasTooExpensive):
        client_of(config.ledger).fund(keys.signer, 1)
    roster = read_roster([unchanged.path / name / MEMBER_FILE for name in NAMES])
    most = config.ledger.max_gas_price_wei
    with pytest.raises(GasTooExpensive):
        deploy(unchanged.where[0], DEV_KEYS[0], roster, b"{}", VaultTerms(1, 1, 0), 0, max_gas_price_wei=most)


def changed(there: SimpleNamespace, **changes: Any) -> None:
    request = json.loads(there.request.read_text())
    there.request.write_text(json.dumps(request | changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"action": "promote"}, "is no request as `mycelia join` or `remove` writes it: action: found 'promote'"),
        ({"entry": None}, "entry: missing; ask for a new copy"),
        ({"entry": {"name": "x", "more": "y"}}, "entry: found 'more' with 'y', expected what a member.json holds"),
        ({"entry": {"name": "x" * 5000}}, r"entry: found 'name' with 'x+\.\.\., expected what a member.json holds"),
        ({"more": 1}, "is no request as `mycelia join`"),
        ({"a\x1b[2J\nb" * 500: 1}, "is no request as `mycelia join`"),
        ({"index": 0}, "index: only a removal has one"),
        ({"config": "zz"}, "config: found 'zz', expected 64 hex digits"),
        ({"config": "FF" * 32}, r"config: found 'F+\.\.\., expected 64 hex digits"),
        ({"evidence": "00"}, "evidence: found '00', expected 64 hex digits"),
        ({"registry": "\x1b[2J"}, r"registry: found '\\x1b\[2J', expected 0x and 40 hex digits"),
        ({"chain_id": 7}, "is for the registry .* on chain 7, not for this one"),
        ({"chain_id": 10**30}, "chain_id: found 10+, expected a number below"),
        ({"chain_id": -1}, "chain_id: found -1, expected a number below"),
        ({"chain_id": True}, "Expected `int`, got `bool`"),
        ({"consents": {}}, "consents: found '' of the newcomer's account, expected 128 hex digits"),
        ({"consents": {"account": "00" * 64, "signer": "00" * 64}}, "is not signed by the newcomer's account: ask for"),
        ({"consents": {"account": "00" * 64, "signer": "00" * 64, "a": "b"}}, "consents: found more than those of"),
        ({"approvals": {"2": "00" * 64}}, "has an approval that member 2 did not give"),
        ({"approvals": {"99": "00" * 64}}, "has an approval that member 99 did not give"),
        ({"approvals": {"2": "00"}}, "approvals: found '00' of member '2', expected 128 hex digits"),
        ({"approvals": {"2": "0 " * 64}}, "of member '2', expected 128 hex digits"),
        ({"approvals": {"00": "00" * 64}}, "approvals: found an approval of '00', expected a roster index"),
        ({"approvals": {"1_0": "00" * 64}}, "found an approval of '1_0', expected a roster index"),
        ({"approvals": {"٣": "00" * 64}}, "found an approval of '٣', expected a roster index"),
        ({"approvals": {"1000": "00" * 64}}, "found an approval of '1000', expected a roster index"),
        ({"approvals": {"1" * 5000: "00" * 64}}, r"found an approval of '1+\.\.\., expected a roster index"),
        ({"entry": {"name": "x"}}, "the request's entry cannot be a member's"),
    ],
)
def test_a_damaged_or_forged_request_is_refused_in_one_sentence(
    unchanged: SimpleNamespace, changes: dict[str, Any], said: str
) -> None:
    join(unchanged)
    changed(unchanged, **changes)
    refused(unchanged, said)


def refused(there: SimpleNamespace, said: str) -> None:
    """Approving it ends with one short sentence, and leaves the file as it was."""
    before = there.request.read_bytes()
    with pytest.raises(ConfigError, match=said) as caught:
        approve(there, "north")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < len(str(there.request)) + 400
    assert there.request.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"index": None}, "index: missing; ask for a new copy"),
        ({"index": -1}, "index: found -1, expected a roster index"),
        ({"index": 1000}, "index: found 1000, expected a roster index"),
        ({"index": 10**4000}, r"index: found 10+\.\.\., expected a roster index"),
        ({"index": 9}, "asks to remove member 9, who is no active member"),
        ({"index": "3"}, "Expected `int"),
        ({"index": False}, "Expected `int"),
        ({"index": 1}, "has an approval that member 0 did not give"),
        ({"entry": {"name": "x"}}, "entry, consents: only a request to join has them"),
        ({"consents": {"account": "00" * 64}}, "entry, consents: only a request to join has them"),
    ],
)
def test_a_damaged_or_forged_removal_is_refused_in_one_sentence(
    unchanged: SimpleNamespace, changes: dict[str, Any], said: str
) -> None:
    membership.remove(unchanged.path / "north", "west", *unchanged.where, None, unchanged.request)
    changed(unchanged, **changes)
    refused(unchanged, said)


def test_a_removal_that_does_not_say_of_whom_removes_nobody(unchanged: SimpleNamespace) -> None:
    membership.remove(unchanged.path / "north", "west", *unchanged.where, None, unchanged.request)
    request = json.loads(unchanged.request.read_text())
    del request["index"], request["approvals"]
    unchanged.request.write_text(json.dumps(request))
    refused(unchanged, "index: missing; ask for a new copy")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no request as `mycelia join` or `remove` writes it: "),
        (b"\xff\xfe", "is no request as"),
        (b'{"action": "\xff"}', "'utf-8' codec can't decode byte 0xff"),
        (b'{"action": "\\ud800"}', "is no request as"),
        (b"[" * 100_000, "is no request as"),
        (b" " * MAX_REQUEST_BYTES + b" ", "it is larger than 262144 bytes; ask for a new copy"),
    ],
    ids=["nothing", "no text", "no text inside", "half a character", "nested", "large"],
)
def test_a_file_that_holds_no_request_is_refused_in_one_sentence(
    unchanged: SimpleNamespace, content: bytes, said: str
) -> None:
    unchanged.request.write_bytes(content)
    refused(unchanged, said)


def test_a_request_larger_than_any_memory_is_refused(unchanged: SimpleNamespace) -> None:
    huge = unchanged.path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(1 << 40)  # a hole, which takes no disk
    with pytest.raises(ConfigError, match="it is larger than 262144 bytes"):
        approve(unchanged, "north", huge)


def test_a_copy_with_a_wrong_approval_is_named_itself(unchanged: SimpleNamespace) -> None:
    join(unchanged)
    copy = unchanged.path / "copy.json"
    request = json.loads(unchanged.request.read_text())
    copy.write_text(json.dumps(request | {"approvals": {"1": "00" * 64}}))
    with pytest.raises(ConfigError, match=r"copy\.json has an approval that member 1 did not give"):
        approve(unchanged, "north", unchanged.request, copy)


def test_an_entry_changed_after_the_newcomer_signed_is_refused(unchanged: SimpleNamespace) -> None:
    join(unchanged)
    entry = json.loads(unchanged.request.read_text())["entry"]
    changed(unchanged, entry=entry | {"address": "127.0.0.1:9999"})
    with pytest.raises(ConfigError, match="is not signed by the newcomer's account"):
        approve(unchanged, "north")


def test_files_that_are_missing_or_of_another_request_are_named(unchanged: SimpleNamespace) -> None:
    unchanged.request.unlink(missing_ok=True)
    with pytest.raises(ConfigError, match=r"cannot read .*r\.json: No such file"):
        approve(unchanged, "north")
    join(unchanged)
    other = unchanged.path / "other.json"
    membership.remove(unchanged.path / "north", "west", *unchanged.where, None, other)
    with pytest.raises(ConfigError, match="is not a copy of"):
        approve(unchanged, "north", unchanged.request, other)


@pytest.mark.parametrize("where", [("eth_call",), ("eth_call", "eth_getLogs")], ids=["views", "views and events"])
def test_an_endpoint_that_swaps_names_gets_nothing_signed(there: SimpleNamespace, where: tuple[str, ...]) -> None:
    """A removal is signed by index: whose index it is must not be for the endpoint to say."""
    url, registry = there.where
    config = there.path / "south" / "mycelia.toml"
    pinned = f'fingerprint = "0x{there.client.verified().fingerprint.hex()}"'
    config.write_text(config.read_text().replace('fingerprint = ""', pinned))
    north, south = (name.encode().hex() for name in ("north", "south"))

    def swapped(method: str, params: list[Any], answer: Any) -> Any:
        text = json.dumps(answer)
        for old, new in ((north, "??"), (south, north), ("??", south)) if method in where else ():
            text = text.replace(old, new)
        return json.loads(text)

    with lying_proxy(url) as proxy:
        proxy.lie = swapped
        with pytest.raises((UnprovenRegistry, WrongFingerprint)):
            membership.remove(there.path / "south", "north", proxy.url, registry, None, there.request)
    assert not there.request.exists()
