"""What proves which cause: Open WebUI lists. Evidence.sign is the signal."""

from monitor.diagnose.base import Rule

OPENWEBUI_SIGNAL: tuple[Rule, ...] = ()
