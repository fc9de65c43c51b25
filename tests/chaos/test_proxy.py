"""That the proxies know whose connection they carry: a partition that lets somebody through is none."""

from __future__ import annotations

import os
import socket

from tests.chaos.proxy import Caller


def test_a_caller_is_found_by_the_socket_that_its_process_holds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy_port = listening.getsockname()[1]
        with socket.create_connection(listening.getsockname()) as calling:
            caller = Caller(calling.getsockname()[1], proxy_port, lambda: {3: 1, 7: os.getpid()})
            assert caller.member == 7
        assert Caller(1, proxy_port, lambda: {7: os.getpid()}).member is None
