"""Node processes that can be started again in no time.

A node's imports cost six seconds of CPU, so that on two cores a killed node among seven busy ones came back only after
half a minute.  Here every node is forked from a process that has imported everything and done nothing else; from then
on it is `mycelia run` as anybody starts it, a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from node.processes import TIED_VARIABLE

STOP_SECONDS = 10.0

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__, "node.commands", "node.assemble", "node.log"])


def warm_up() -> None:
    """Have the imports begun, while the caller does something else."""
    # The threads of BLAS are counted when it is imported, which is in the process that the others are forked from.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    forkserver.ensure_running()


class NodeProcess:
    """One running node; to be ended by `stop` or `kill`."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        warm_up()
        self._log = home / "node.log"
        self._said_before = self._log.stat().st_size if self._log.exists() else 0
        self._process: ForkServerProcess = _forks.Process(target=_run, args=(str(home), environment), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def said(self) -> str:
        """All that it has logged since its start."""
        return self._log.read_bytes()[self._said_before :].decode(errors="replace").strip()

    def signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            with suppress(ProcessLookupError):  # it may just have ended
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.join(STOP_SECONDS)

    def stop(self) -> None:
        """End it as an operator does, or by force if it does not listen."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._process.join(STOP_SECONDS)
        self.kill()


def _run(home: str, environment: dict[str, str]) -> None:
    """In the new process: `mycelia run HOME`, its output appended to the node's log."""
    os.setsid()
    log = os.open(Path(home) / "node.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    # What nodes are forked from ends with whoever asked for them, unless a node holds this end of the pipe as well.
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    os.environ |= {**environment, TIED_VARIABLE: str(os.getppid())}
    sys.argv = ["mycelia", "run", home]
    from node.cli import main

    main()
