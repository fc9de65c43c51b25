"""What holds for every test."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import structlog


def pytest_configure() -> None:
    """A job in a shell's background ignores Ctrl-C, and so would every process that a test starts and interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the lengthy tests, so that no worker of pytest-xdist ends on one of them alone."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    lengthy = [item for item in items if item.get_closest_marker("lengthy")]
    short = [item for item in items if not item.get_closest_marker("lengthy")]
    size = -(-len(short) // workers)
    parts = (lengthy[i::workers] + short[i * size : (i + 1) * size] for i in range(workers))
    items[:] = [item for part in parts for item in part]


@pytest.fixture(autouse=True)
def logs_go_where_each_test_sends_them() -> Iterator[None]:
    """A command that runs inside a test sends its log to that test's standard error, which is closed afterwards."""
    yield
    structlog.reset_defaults()
