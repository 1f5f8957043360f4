"""How the daemon itself is set up: one frozen section for each part, each built from an Env alone.

A part reads its own section and so validates only its own: `python -m backup` never trips over a web setting.
"""

import socket
from dataclasses import dataclass
from pathlib import Path

from config.env import Env
from config.secret import Secret

DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """When and how often services are looked at, unless a preset or WATCH_FILE says otherwise. Times are seconds."""

    interval: float = 60.0
    confirm_interval: float = 10.0
    probe_timeout: float = 10.0
    failure_threshold: int = 3
    success_threshold: int = 2
    start_period: float = 120.0
    watch_file: Path | None = None
    paused: tuple[str, ...] = ()
    canary_writes: bool = True
    instance: str = "watchkeeper"

    @classmethod
    def read(cls, env: Env) -> "WatchSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        interval = env.number(
            "CHECK_INTERVAL", default=60.0, least=0.1, most=DAY, says="Seconds between two runs of a check."
        )
        confirm = env.number(
            "CONFIRM_INTERVAL",
            default=min(10.0, interval),
            least=0.05,
            most=DAY,
            says="After a first miss, seconds from one second look to the next. Never above CHECK_INTERVAL.",
        )
        if confirm > interval:
            env.problem(
                "CONFIRM_INTERVAL",
                "is above CHECK_INTERVAL, so a second look would come later than the next round",
                "lower it or take it out",
            )
        timeout = env.number(
            "PROBE_TIMEOUT",
            default=10.0 if interval > 10 else interval / 2,
            least=0.05,
            most=600,
            says="Seconds one run may take, from the name look-up to the last byte. Below CHECK_INTERVAL; "
            "if that is 10 or less, half of it unless set.",
        )
        if timeout >= interval:
            env.problem("PROBE_TIMEOUT", "is not below CHECK_INTERVAL", "lower it or raise CHECK_INTERVAL")
        failures = env.whole(
            "FAILURE_THRESHOLD", default=3, least=1, most=100, says="Misses in a row before a check counts as failed."
        )
        passes = env.whole(
            "SUCCESS_THRESHOLD", default=2, least=1, most=100, says="Passes in a row before it counts as well again."
        )
        start_period = env.number(
            "START_PERIOD",
            default=120.0,
            least=0,
            most=DAY,
            says="Seconds a service never yet seen up may fail before it counts as down.",
        )
        file = env.text("WATCH_FILE", says="Path of a TOML file with services of your own and changes.", kind="path")
        paused = env.names("PAUSE", says="Services not to look at for now, by name: `langfuse-worker,postgres-eu`.")
        canary = env.flag(
            "CANARY_WRITES",
            default=True,
            says="Whether checks may write: a key or an object of their own, which goes away by itself.",
        )
        return cls(
            interval=interval,
            confirm_interval=confirm,
            probe_timeout=timeout,
            failure_threshold=failures,
            success_threshold=passes,
            start_period=start_period,
            watch_file=Path(file) if file else None,
            paused=paused,
            canary_writes=canary,
            instance=_instance(env),
        )


def _instance(env: Env) -> str:
    """Who is looking. Railway's replica id would change with each deployment, and alerts are keyed by this name."""
    service = env.text("RAILWAY_SERVICE_NAME", says="Set by Railway; the first half of INSTANCE's default.")
    where = env.text("RAILWAY_ENVIRONMENT_NAME", says="Set by Railway; the second half of INSTANCE's default.")
    railway = f"{service}@{where}" if service and where else service
    given = env.text(
        "INSTANCE",
        says="Name of this daemon in what it reports. Default: Railway's service and environment, else the host name.",
    )
    return given or railway or socket.gethostname() or "watchkeeper"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Where the daemon's own web server listens and who may ask it. Port 0 means any free port."""

    port: int = 8080
    metrics_token: Secret | None = None
    api_token: Secret | None = None

    @classmethod
    def read(cls, env: Env) -> "WebSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        for name, what in (("METRICS_TOKEN", "/metrics"), ("API_TOKEN", "the API")):
            if name in env.environ and not env.is_set(name):
                env.note(f"{name} is set but empty, so {what} is open to anybody who reaches the port")
        return cls(
            port=env.whole("PORT", default=8080, least=0, most=65_535, says="Port of the web pages and of /healthz."),
            metrics_token=env.secret("METRICS_TOKEN", says="If set, /metrics asks for it as a bearer token."),
            api_token=env.secret("API_TOKEN", says="If set, the API asks for it as a bearer token."),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """Where the daemon keeps what it must not forget. None: nothing lasting was given, take a temporary folder.

    `variable` is the one that named the folder.
    """

    folder: Path | None = None
    variable: str = ""

    @classmethod
    def read(cls, env: Env) -> "StateSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        given = env.text("STATE_DIR", says="Folder for the state file; put it on a volume.", kind="path")
        volume = env.text(
            "RAILWAY_VOLUME_MOUNT_PATH", says="Set by Railway with a volume; used without STATE_DIR.", kind="path"
        )
        if given:
            return cls(folder=Path(given), variable="STATE_DIR")
        if volume:
            return cls(folder=Path(volume), variable="RAILWAY_VOLUME_MOUNT_PATH")
        return cls()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How the log looks. `json` None means: a console on a terminal, JSON lines otherwise."""

    level: str = "info"
    json: bool | None = None

    @classmethod
    def read(cls, env: Env) -> "LogSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        level = env.choice(
            "LOG_LEVEL", ("debug", "info", "warning", "error"), default="info", says="debug, info, warning or error."
        )
        form = env.choice(
            "LOG_FORMAT",
            ("auto", "console", "json"),
            default="auto",
            says="console, json, or auto: console on a terminal, JSON lines otherwise.",
        )
        return cls(level=level, json=None if form == "auto" else form == "json")
