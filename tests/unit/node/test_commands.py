"""What the commands refuse before they write, send or print anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node import commands
from node.errors import ConfigError
from node.members import MEMBER_FILE, read_member
from node.progress import STATUS_FILE, Progress


def init(folder: Path, **changes: Any) -> None:
    values = {"name": "north", "task": "my_task:task", "host": "127.0.0.1", "port": 4001, "options": []} | changes
    commands.init(folder, **values)


def test_init_writes_what_deploy_takes(tmp_path: Path) -> None:
    init(tmp_path / "new" / "north", host="::1")
    member = read_member(tmp_path / "new" / "north" / MEMBER_FILE, 0)
    assert (member.name, member.host, member.port) == ("north", "::1", 4001)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"port": 99_999}, "--port: node.port: found 99999, expected 1 to 65535"),
        ({"name": ""}, "--name: node.name: found '', expected 1 to 64 bytes of printable characters"),
        ({"name": "ä" * 33}, "--name: node.name: found"),
        ({"name": "a\nb"}, r"--name: node.name: found 'a\nb', expected"),
        ({"host": "not a host!"}, "--host: node.host: found 'not a host!', expected an IP address or the name of a"),
        ({"task": "my_task"}, "--task: node.task: found 'my_task', expected module:object"),
        ({"options": ["path"]}, "an option is NAME=VALUE, found 'path'"),
    ],
)
def test_init_refuses_what_run_would_and_writes_nothing(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        init(tmp_path / "north", **changes)
    assert said in str(refused.value)
    assert not (tmp_path / "north").exists()


def test_init_names_every_problem_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        init(tmp_path / "north", name="", port=0)
    assert len(str(refused.value).splitlines()) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot make the folder .*file/north: Not a directory"):
        init(tmp_path / "file" / "north")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no file without end here")
def test_a_key_file_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="holds no private key"):
        commands.read_hex_key(Path("/dev/zero"))


@pytest.mark.parametrize("content", [b"", b"01" * 31, b"\x00\xff" * 16, b"00" * 32, "ä".encode() * 32])
def test_a_deployers_key_that_is_none_is_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        commands.read_hex_key(path)
    assert str(refused.value) == f"{path} holds no private key: expected 64 hex digits"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "5", '{"updated": "x"}', "{}", '{"updated": 1e300}', '{"updated": null}', "\ud800", "[" * 100_000],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_damaged_status_is_named(
    tmp_path: Path, text: str, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / STATUS_FILE).write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ConfigError, match=r"status\.json is damaged; a node that runs writes it anew"):
        commands.status(tmp_path, as_json)
    assert capsys.readouterr().out == ""


def test_a_status_is_shown_as_the_node_wrote_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="no node has run in"):
        commands.status(tmp_path, False)
    progress = Progress(tmp_path)
    progress.update(round=3, missing=["south"])
    progress.close()
    commands.status(tmp_path, True)
    assert json.loads(capsys.readouterr().out) == progress.state
    commands.status(tmp_path, False)
    assert capsys.readouterr().out.splitlines()[:2] == ["round         3", "missing       south"]
