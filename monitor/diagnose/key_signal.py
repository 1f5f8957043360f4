"""What proves which cause: a service says to the key another one holds for it. Evidence.sign is the signal."""

from monitor.diagnose.base import Rule

KEY_SIGNAL: tuple[Rule, ...] = ()
