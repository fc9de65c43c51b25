"""What is said when public data cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.data import download_heart
from node.errors import ConfigError


def test_a_repository_that_does_not_answer_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        download_heart(tmp_path / "heart", "http://127.0.0.1:1/")
    assert str(refused.value) == (
        "cannot download http://127.0.0.1:1/processed.cleveland.data: Connection refused; put the files into a folder"
    )
