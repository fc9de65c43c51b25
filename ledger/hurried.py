"""HTTP answers with a deadline for the whole of them: requests bounds only the silence between two packets.

An endpoint that sends one byte of its headers every few seconds would otherwise be waited for without end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http.client import HTTPResponse
from io import BufferedReader, RawIOBase
from typing import Any, Final

from requests import Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _Stream(RawIOBase):
    """What comes from a socket until the deadline, which is `time.monotonic`'s."""

    def __init__(self, inner: Any, set_timeout: Callable[[float], None], deadline: float) -> None:
        self._inner = inner
        self._set_timeout = set_timeout
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_seconds = self._deadline - time.monotonic()
        if left_seconds <= 0:
            raise TimeoutError("the whole answer took too long")
        self._set_timeout(left_seconds)
        read: int | None = self._inner.readinto(buffer)
        return read

    def close(self) -> None:
        self._inner.close()
        super().close()


def _response_class(seconds: float) -> type[HTTPResponse]:
    class Response(HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
            super().__init__(sock, *args, **options)
            stream = _Stream(self.fp.detach(), sock.settimeout, time.monotonic() + seconds)
            self.fp = BufferedReader(stream)

    return Response


class HurriedAdapter(HTTPAdapter):
    """Gives up an answer that takes longer than `seconds` from its first byte's wait to its last byte."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        response = _response_class(seconds)
        pools: Final[dict[str, Any]] = {}
        for scheme, pool, connection in (
            ("http", HTTPConnectionPool, HTTPConnection),
            ("https", HTTPSConnectionPool, HTTPSConnection),
        ):
            hurried = type("Hurried", (connection,), {"response_class": response})
            pools[scheme] = type("HurriedPool", (pool,), {"ConnectionCls": hurried})
        self.poolmanager.pool_classes_by_scheme = pools


def hurry(session: Session, seconds: float) -> Session:
    """The session, whose answers from now on have that long."""
    if not isinstance(session.adapters.get("http://"), HurriedAdapter):
        for scheme in ("http://", "https://"):
            session.mount(scheme, HurriedAdapter(seconds))
    return session
