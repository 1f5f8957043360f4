"""The connections under minio-py: sent in blocks, so that a time-out means a block and not a whole piece, and keeping
what minio-py throws away, the status and the Date of each answer."""

import threading
from io import BytesIO
from typing import Any

import urllib3

BLOCK = 256 * 1024


class Seen(threading.local):
    """What this thread's last answer said: its status (0: there was none) and its Date header ("": it had none)."""

    status: int = 0
    date: str = ""


class Pool(urllib3.PoolManager):
    """A PoolManager, which heeds no proxy variables, with `seen`. Redirects are answers like others."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(blocksize=BLOCK, **arguments)
        self.seen = Seen()

    def forget(self) -> None:
        """Makes `seen` empty, before a request whose failure it shall explain."""
        self.seen.status, self.seen.date = 0, ""

    def urlopen(  # type: ignore[override]  # minio-py and we never hand over `redirect`
        self, method: str, url: str, **arguments: Any
    ) -> urllib3.BaseHTTPResponse:
        """One request. A body of bytes would go out in one sendall, whose time-out covers all of it."""
        body = arguments.get("body")
        if isinstance(body, bytes) and len(body) > BLOCK:
            arguments["body"] = BytesIO(body)
        response = super().urlopen(method, url, redirect=False, **arguments)
        self.seen.status = response.status
        self.seen.date = response.headers.get("Date", "")
        return response
