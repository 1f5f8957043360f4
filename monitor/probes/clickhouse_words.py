"""What is said to ClickHouse over HTTP, and how it says that something went wrong."""

import re

from config.checks import ClickhouseParams
from monitor.probes.fetch import Reply

# How an exception looks in a body, which may follow an answer that began with 200.
_EXCEPTION = re.compile(r"Code: (\d+)\b[.,].*?DB::Exception: (.*)", re.DOTALL)


def login(params: ClickhouseParams) -> dict[str, str]:
    """Gives the headers that say who asks."""
    headers = {"x-clickhouse-user": params.user}
    return {**headers, "x-clickhouse-key": params.password.reveal()} if params.password else headers


def exception_in(reply: Reply) -> tuple[str, str]:
    """Gives the code and the words of the exception an answer tells of; both "" where it tells of none."""
    exception = _EXCEPTION.search(reply.text)
    code = reply.headers.get("x-clickhouse-exception-code") or (exception[1] if exception else "")
    return code, (exception[2] if exception else reply.text) if code else ""
