"""Child processes that never outlive whoever started them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
TIED_VARIABLE = "MYCELIA_DIE_WITH_PARENT"
STOP_SECONDS = 5.0


def die_with_parent() -> None:
    """In a child: have the kernel end this process when its parent ends, however that happens (Linux)."""
    parent = os.environ.get(TIED_VARIABLE)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(1)  # the parent was gone before the kernel knew


class Processes:
    """Every process that was started here; leaving the context ends them all."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            if process.poll() is None:
                process.terminate()
        for process in self._running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(
        self,
        arguments: list[str],
        log: Path,
        *,
        stdout: int | IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start `mycelia ARGUMENTS`, its standard error appended to `log`."""
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "node.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=errors if stdout is None else stdout,
                stderr=errors,
                env={**os.environ, TIED_VARIABLE: str(os.getpid()), "OMP_NUM_THREADS": "1", **(environment or {})},
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its children in order
            )
        self._running.append(process)
        return process
