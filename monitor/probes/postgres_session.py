"""A PostgreSQL session on our own loop, and what its errors prove.

libpq's own state machine is driven by our loop, through psycopg.pq. psycopg's AsyncConnection would hide how far it
got (a connection that does not open looks like one that does not answer), wait at least 2 s for each address, and when
cancelled in mid-query spend up to 5 s more on asking the server to stop.
"""

import asyncio
import errno
import fcntl
import os
import re
import struct
import termios
from collections.abc import Mapping, Sequence
from dataclasses import replace

from psycopg import OperationalError, pq
from psycopg.conninfo import make_conninfo

from config.checks import PostgresParams
from monitor.probes.base import Answer, Sight, Verdict

# The daemon's own environment must not steer a probe, and for these libpq has no parameter that would undo them.
for _name in ("PGSERVICE", "PGREQUIREAUTH", "PGTZ", "PGDATESTYLE", "PGGEQO"):
    os.environ.pop(_name, None)

# A path that cannot exist. Left empty, libpq would look for these files below HOME, and give up on one it may not read.
NOWHERE = f"{os.devnull}/none"

# Everything else that libpq would take from PGxxx variables or from the home folder, said outright.
NEUTRAL: Mapping[str, str] = {
    "passfile": NOWHERE,
    "channel_binding": "prefer",
    "client_encoding": "UTF8",
    "options": "",
    "sslmode": "prefer",
    "sslnegotiation": "postgres",
    "sslcompression": "0",
    "sslcert": NOWHERE,
    "sslkey": NOWHERE,
    "sslcertmode": "allow",
    "sslrootcert": NOWHERE,
    "sslcrl": NOWHERE,
    "sslcrldir": "",
    "sslsni": "1",
    "ssl_min_protocol_version": "TLSv1.2",
    "ssl_max_protocol_version": "",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
    "requirepeer": "",
    "gssencmode": "disable",
    "krbsrvname": "postgres",
    "gsslib": "",
    "gssdelegation": "0",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
}


def conninfo(params: PostgresParams, address: str) -> str:
    """Everything libpq needs, and nothing left for it to find. Raises ProgrammingError for an option it has not."""
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    chosen = {name: value for name, value in NEUTRAL.items() if name in known}
    chosen |= params.options
    chosen |= {
        "host": params.host,
        "hostaddr": address,
        "port": str(params.port),
        "user": params.user,
        "password": params.password.reveal() if params.password else "",
        "dbname": params.database,
        "application_name": "watchkeeper",
        "connect_timeout": "0",
    }
    return make_conninfo("", **chosen)


# Bytes that may wait to be read over one session, summed up over its reads: what we ask is answered in some kilobytes,
# and libpq has no bound of its own. What is read in parts counts more than once.
MOST = 4_194_304
# A query of ours is never answered with these, and libpq gives such a result again and again until it is copied.
_COPIES = frozenset({pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH})


class Refusal(Exception):  # noqa: N818 -- an answer, not a fault
    """What libpq or the server said instead of what was asked."""

    def __init__(self, message: str, sqlstate: str = "") -> None:
        super().__init__()  # the message may quote the connection string: it goes through `read` only
        self.message = message
        self.sqlstate = sqlstate


class Session:
    """One connection of libpq's, driven by the running loop. `connected` tells whether TCP ever opened."""

    def __init__(self, told: str) -> None:
        self._pgconn = pq.PGconn.connect_start(told.encode())
        self._heard = 0
        self.connected = False

    async def open(self) -> None:
        """Connects and logs in. Raises Refusal."""
        if self._pgconn.status == pq.ConnStatus.BAD:
            raise Refusal(self._message())
        while (step := self._pgconn.connect_poll()) != pq.PollingStatus.OK:
            if step == pq.PollingStatus.FAILED:
                raise Refusal(self._message())
            self.connected = self.connected or self._pgconn.status != pq.ConnStatus.STARTED
            # libpq may take another socket between two steps, so it is asked for each time.
            await _ready(self._pgconn.socket, reading=step == pq.PollingStatus.READING)
            self._meter()
        self._pgconn.nonblocking = 1

    @property
    def lost(self) -> bool:
        """Whether the connection has ended, so that nothing more can be asked over it."""
        return self._pgconn.status == pq.ConnStatus.BAD

    async def query(self, text: str) -> Sequence[str]:
        """Gives the row of the last statement in `text`. Raises Refusal; unless `lost`, more can be asked then."""
        try:
            return await self._query(text)
        except OperationalError as error:
            raise Refusal(str(error)) from None

    async def _query(self, text: str) -> Sequence[str]:
        self._pgconn.send_query(text.encode())
        while self._pgconn.flush():
            await _ready(self._pgconn.socket, reading=False)
        row: Sequence[str] = ()
        refusal: Refusal | None = None
        while True:
            while self._pgconn.is_busy():
                await _ready(self._pgconn.socket, reading=True)
                self._meter()
                self._pgconn.consume_input()
            result = self._pgconn.get_result()
            if result is None:
                break
            if result.status in _COPIES:
                raise Refusal("unexpected message from server: it answers a query with COPY")
            if result.status == pq.ExecStatus.TUPLES_OK:
                values = (result.get_value(0, column) or b"" for column in range(result.nfields))
                row = [value.decode("utf-8", "replace") for value in values]
            elif result.status != pq.ExecStatus.COMMAND_OK and refusal is None:
                state = result.error_field(pq.DiagnosticField.SQLSTATE) or b""
                refusal = Refusal(result.error_message.decode("utf-8", "replace"), state.decode("ascii", "replace"))
        if refusal:
            raise refusal
        return row

    def _meter(self) -> None:
        """Counts what is about to be read. Raises Refusal when it is more than any answer of ours takes."""
        waiting: int = struct.unpack("i", fcntl.ioctl(self._pgconn.socket, termios.FIONREAD, bytes(4)))[0]
        self._heard += waiting
        if self._heard > MOST:
            raise Refusal(f"unexpected message from server: more than {MOST} bytes of it")

    def close(self) -> None:
        """Closes the connection; the server is told if it still listens."""
        self._pgconn.finish()

    def _message(self) -> str:
        return self._pgconn.error_message.decode("utf-8", "replace")


async def _ready(descriptor: int, *, reading: bool) -> None:
    """Waits until a socket can be read, or written."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    (loop.add_reader if reading else loop.add_writer)(descriptor, wake)
    try:
        await ready
    finally:
        (loop.remove_reader if reading else loop.remove_writer)(descriptor)


def read(message: str, sqlstate: str = "") -> Answer:
    """Gives what an error of libpq's or the server's proves. `sqlstate` is known only after the login.

    During the login libpq hands out nothing but the text (psycopg/psycopg#1188), so the SQLSTATE is told from the
    server's English words; a server that speaks another language is still seen as an answer that is no pass.
    """
    text = _trim(message) or "a refusal without words"
    if sqlstate:
        return _fail(Sight.ANSWERED, text, sqlstate)
    for sight, code, pattern in _WORDS:
        if re.search(pattern, message):
            verdict = Verdict.UNKNOWN if sight in (Sight.NO_ROUTE, Sight.FAULT) else Verdict.FAIL
            return Answer(verdict=verdict, sight=sight, text=text, code=code)
    return _fail(Sight.ANSWERED, text, "")


def read_login(refusal: Refusal, params: PostgresParams) -> Answer:
    """As `read`, for a login that was refused.

    "no encryption" only says over what kind of connection the last try was. Every sslmode but disable has tried TLS as
    well by then, so that it is not TLS what the server lacks in us.
    """
    answer = read(refusal.message, refusal.sqlstate)
    if params.options.get("sslmode") == "disable" or not _PLAIN.search(answer.text):
        return answer
    return replace(answer, text=f"{answer.text}; TLS was tried as well")


_PLAIN = re.compile("no pg_hba.conf entry.*(no encryption|SSL off)$")


def _fail(sight: Sight, text: str, code: str) -> Answer:
    return Answer(verdict=Verdict.FAIL, sight=sight, text=text, code=code)


_PREFIX = re.compile(r'^connection to server at "[^"]*"(?: \([^)]*\))?, port \d+ failed: ')


def _trim(message: str) -> str:
    """The first line without libpq's account of whom it asked; that is the evidence's address."""
    first = message.strip().split("\n")[0]
    return _PREFIX.sub("", first).replace("FATAL:  ", "").replace("ERROR:  ", "").strip()


def _system(code: int) -> str:
    """The system's words for an errno, as libpq prints them."""
    return re.escape(os.strerror(code))


# The first that is found decides: with sslmode=prefer a message holds a line for the try with TLS and one for the try
# without, and what is said of the password in the first outweighs what is said of TLS in the second.
_WORDS: Sequence[tuple[Sight, str, str]] = (
    (Sight.ANSWERED, "28P01", r"(password|SASL) authentication failed|no password supplied"),
    (Sight.ANSWERED, "53300", r"too many clients|remaining connection slots|too many connections|no more connections"),
    (Sight.ANSWERED, "08P01", r"server login has been failing|server_login_retry|pgbouncer cannot connect to server"),
    (Sight.ANSWERED, "57P03", r"database system is|not yet accepting connections"),
    (Sight.ANSWERED, "3D000", r'database ".*" does not exist|no such database'),
    (Sight.ANSWERED, "28000", r"pg_hba\.conf|role .* does not exist|not permitted to log in|authentication failed"),
    (Sight.ANSWERED, "55000", r"not currently accepting connections"),
    (Sight.ANSWERED, "57P01", r"terminating connection due to administrator command"),
    (Sight.ANSWERED, "57P02", r"terminating connection because of crash"),
    (Sight.ANSWERED, "42501", r"permission denied"),
    (Sight.ANSWERED, "53100", r"(?i)no space left"),
    (Sight.ANSWERED, "53200", r"FATAL:.*out of memory"),
    (Sight.TLS, "no_tls", r"server does not support SSL"),
    (Sight.TLS, "insecure", r"connection is insecure|SSL connection is required|SSL required"),
    (Sight.TLS, "expired", r"certificate has expired"),
    (Sight.TLS, "wrong_name", r"does not match host name"),
    (Sight.TLS, "self_signed", r"certificate verify failed: self.signed"),
    (Sight.TLS, "untrusted", r"certificate verify failed|root certificate file"),
    (
        Sight.GARBLED,
        "",
        r"received invalid response|expected authentication request|lost synchronization|unexpected message",
    ),
    (Sight.GARBLED, "", r"error response during SSL exchange|invalid message|unsupported frontend protocol"),
    (Sight.REFUSED, "ECONNREFUSED", _system(errno.ECONNREFUSED)),
    (Sight.NO_CONNECT, "ETIMEDOUT", _system(errno.ETIMEDOUT)),
    (Sight.NO_ROUTE, "EHOSTUNREACH", _system(errno.EHOSTUNREACH)),
    (Sight.NO_ROUTE, "ENETUNREACH", _system(errno.ENETUNREACH)),
    (Sight.NO_ROUTE, "EADDRNOTAVAIL", _system(errno.EADDRNOTAVAIL)),
    (Sight.RESET, "ECONNRESET", _system(errno.ECONNRESET) + "|" + _system(errno.EPIPE)),
    (Sight.RESET, "", r"server closed the connection unexpectedly|no connection to the server"),
    (Sight.TLS, "", r"SSL error|SSL SYSCALL error|could not establish SSL"),
    (Sight.FAULT, "", r"invalid .* value|could not create socket|could not open|could not load|could not read|must be"),
)
