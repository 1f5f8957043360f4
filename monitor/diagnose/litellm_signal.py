"""What proves which cause: LiteLLM tells of its models. Evidence.sign is the signal."""

from monitor.diagnose.base import Rule

LITELLM_SIGNAL: tuple[Rule, ...] = ()
