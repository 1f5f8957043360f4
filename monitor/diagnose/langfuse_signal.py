"""What proves which cause: shows on an event's way through Langfuse. Evidence.sign is the signal."""

from monitor.diagnose.base import Rule

LANGFUSE_SIGNAL: tuple[Rule, ...] = ()
