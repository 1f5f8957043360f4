"""Who runs: enough to name a process to a person, and to tell on its own machine whether it is dead."""

import os
import socket
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One process. `instance` is what people call it. `machine` is the boot and the process namespace it lives in, ""
    where the system tells neither; `started` is when the process began, in the kernel's ticks since that boot."""

    instance: str
    host: str
    pid: int
    machine: str = ""
    started: str = ""

    @classmethod
    def here(cls, instance: str) -> Self:
        """This process."""
        return cls(
            instance=instance,
            host=socket.gethostname(),
            pid=os.getpid(),
            machine=_machine(),
            started=_started(os.getpid()) or "",
        )

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        """An owner as it is stored. Raises KeyError, TypeError."""
        known = {one.name: document[one.name] for one in fields(cls) if one.name in document}
        return cls(**known)

    def is_dead(self) -> bool:
        """Whether it is certain that the process has ended. False when it lives, or lived where we cannot look."""
        if not self.machine or not self.started or self.machine != _machine():
            return False
        return _started(self.pid) != self.started

    def __str__(self) -> str:
        return f"{self.instance} (process {self.pid} on {self.host})"


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process began; None when there is none, or it is a zombie, which writes nothing any more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may hold anything; after it come the state (field 3) and, as field 22, the start.
    facts = stat.rpartition(")")[2].split()
    return None if facts[0] in ("Z", "X") else facts[19]
