"""What a node is made of follows its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ledger.client
import node.assemble
from ledger.errors import ChainUnavailable
from ledger.finality import Finality
from node.config import Config, LedgerConfig, NodeConfig


def test_a_node_waits_for_the_finality_of_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Finality] = []

    def client(*place: str, finality: Finality, **rest: Any) -> None:
        asked.append(finality)
        raise ChainUnavailable("away")

    monkeypatch.setattr(ledger.client, "LedgerClient", client)
    keys: Any = None
    for text in ("instant", "confirmations:7"):
        config = Config(node=NodeConfig(name="north", task="a:b"), ledger=LedgerConfig(finality=text))
        with pytest.raises(ChainUnavailable):
            node.assemble.assemble(tmp_path, config, keys)
    assert asked == [Finality.parse("instant"), Finality.parse("confirmations:7")]
