"""Where the four hospitals' files lie: $MYCELIA_DATA_DIR, else ../shared/data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.data import HEART_FILES


def heart_folder() -> Path:
    """The folder; skips the test where it is absent, and fails it where CI=true."""
    named = os.environ.get("MYCELIA_DATA_DIR")
    root = Path(named) if named else Path(__file__).parents[3] / "shared" / "data"
    first = HEART_FILES["cleveland"][0]
    for folder in (root / "heart_disease", root):
        if (folder / first).exists():
            return folder
    reason = f"the hospitals' files are not in {root}; MYCELIA_DATA_DIR names their folder"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
