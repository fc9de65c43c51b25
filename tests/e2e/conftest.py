"""What several of the tests from end to end need."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.helpers.demo import MYCELIA


@pytest.fixture
def rpc() -> Iterator[str]:
    """The URL of a development chain of the test's own."""
    command = [*MYCELIA, "devchain", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as chain:
        assert chain.stdout is not None
        yield json.loads(chain.stdout.readline())["rpc"]
        chain.terminate()
        assert chain.wait(10) == 0
