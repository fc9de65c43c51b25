"""Members' folders as `mycelia init` and `mycelia deploy` leave them."""

from __future__ import annotations

import socket
from pathlib import Path

from ledger.devchain import DEV_KEYS
from ledger.types import VaultTerms
from node.builtin import builtin_task, make_spec
from node.commands import prepare
from node.config import GossipConfig, NodeConfig, set_registry
from node.data import breast_cancer_hospitals
from node.founding import deploy_for
from node.members import read_member


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def make_members(folder: Path, count: int) -> list[str]:
    """Names of so many members, each with a folder of its own that has rows to learn from."""
    for hospital in breast_cancer_hospitals(count, 1):
        home = folder / hospital.name
        home.mkdir()
        hospital.write(home / "rows.csv")
        options = {"path": str(home / "rows.csv")}
        node = NodeConfig(name=hospital.name, port=free_port(), task="node.builtin:breast_cancer", options=options)
        prepare(home, node, GossipConfig())
    return sorted(home.name for home in folder.iterdir())


def deploy_consortium(folder: Path, rpc: str, count: int) -> list[str]:
    """Names of so many members, each with a folder of its own, deployed for two rounds."""
    names = make_members(folder, count)
    members = [read_member(folder / name / "member.json", index) for index, name in enumerate(names)]
    spec = make_spec(builtin_task("breast-cancer", folder / names[0]), 2)
    registry = deploy_for(members, rpc, DEV_KEYS[0], spec, VaultTerms(10**18, 500_000, 1), 0).registry
    for name in names:
        set_registry(folder / name, rpc, registry)
    return names
