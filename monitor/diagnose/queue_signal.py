"""What proves which cause: the queues of Langfuse's worker show. Evidence.sign is the signal."""

from monitor.diagnose.base import Rule

QUEUE_SIGNAL: tuple[Rule, ...] = ()
