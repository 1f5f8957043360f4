"""The daemon's log: structlog, readable on a terminal, JSON lines elsewhere, and never a secret in it.

Everything goes the same way, the lines of libraries that use the standard library's logging too. Masking is the last
step, after tracebacks have become text: whatever a value or an exception holds passes there.
"""

import json as json_format
import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

import structlog

from config.secret import Secret, telling

MASK = "***"
USERINFO = re.compile(r"(?<=://)[^\s/?#@\"'\\]+@")

# Libraries that report each of their steps as info.
CHATTY = ("httpx", "httpcore", "apscheduler", "asyncio", "urllib3")


class Mask:
    """The texts that must not be seen, in each way they may be written: plain, in a URL, as a literal, in JSON.

    Which texts those are, config.secret says.
    """

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secrets: Iterable[Secret]) -> None:
        """Masks these from now on."""
        for secret in secrets:
            for form in telling(secret):
                self._forms.update((form, quote(form), quote(form, safe=""), quote_plus(form), repr(form)[1:-1]))
                self._forms.update(json_format.dumps(form, ensure_ascii=pure)[1:-1] for pure in (True, False))
        longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def clean(self, text: str) -> str:
        """`text` without any of them, and without user and password in addresses."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        return USERINFO.sub(f"{MASK}@", text)

    def clean_value(self, value: object) -> object:
        """A value as JSON knows them, with every text in it cleaned; what JSON does not know becomes its text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.clean(str(key)): self.clean_value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.clean_value(item) for item in value]
        return self.clean(str(value))


_mask = Mask()


def mask(secrets: Iterable[Secret]) -> None:
    """Keeps these out of every line from now on. Secrets that are known later are added by another call."""
    _mask.add(secrets)


def masked(text: str) -> str:
    """`text` without any secret that `mask` was told, for what leaves by another way than the log."""
    return _mask.clean(text)


def configure(*, stream: TextIO | None = None, json: bool | None = None, level: str = "info") -> None:
    """Sets up logging for the whole process.

    Given where lines go (standard error if None), whether they are JSON (None: unless `stream` is a terminal), and the
    least level that is written: debug, info, warning or error. Calling it again replaces what was set up.
    """
    stream = sys.stderr if stream is None else stream
    as_json = not stream.isatty() if json is None else json
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_json_end() if as_json else _console_end(colors=stream.isatty())),
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _json_end() -> list[Any]:
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(tracebacks),
        _clean_event,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def _console_end(*, colors: bool) -> list[Any]:
    return [
        _clean_event,
        structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
        lambda _logger, _method, line: _mask.clean(line),  # the traceback, which the renderer wrote just now
    ]


def _clean_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Every value cleaned before it is quoted once more; an exception is left for the renderer."""
    return {_mask.clean(key): value if key == "exc_info" else _mask.clean_value(value) for key, value in event.items()}
