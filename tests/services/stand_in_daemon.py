"""A daemon for the demo's own tests: watches Redis's port alone, ten times a second. Not collected by pytest."""

import http.server
import json
import os
import socket
import sys
import threading
import time
from urllib.parse import urlsplit

STATE = {"name": "redis", "state": "unknown", "cause": None}


class Handler(http.server.BaseHTTPRequestHandler):
    """/healthz and /api/v1/status."""

    def do_GET(self) -> None:
        body = b"ok" if self.path == "/healthz" else json.dumps({"services": [STATE]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def watch() -> None:
    """Tells the port's flips for ever."""
    address = urlsplit(os.environ["REDIS_URL"])
    while True:
        try:
            socket.create_connection((address.hostname or "", address.port or 0), timeout=1).close()
            state, cause = "up", None
        except OSError:
            state, cause = "down", "refused"
        if state != STATE["state"]:
            sys.stdout.write(f"redis {STATE['state']} -> {state}\n")
            sys.stdout.flush()
            STATE.update(state=state, cause=cause)
        time.sleep(0.1)


threading.Thread(target=watch, daemon=True).start()
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
