"""What it proves that a service refuses the key which another one holds for it. Evidence.code is how it fails."""

from config.causes import Cause
from monitor.diagnose.base import Rule

KEY_SIGNAL: tuple[Rule, ...] = (
    Rule(
        cause=Cause.AUTH,
        precise=True,
        codes=("foreign",),
        signs=("key",),
        proof="the key that one service holds for another is refused, and looks like the key of a third",
        says="{title} at {address} holds a key for {provider} that belongs to another service: it is refused.",
        remedy="The evidence says whose key it looks like. Put {provider}'s own key into the variable that {title} "
        "reads, and redeploy it.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        codes=("form",),
        signs=("key",),
        proof="the key that one service holds for another is refused, and is not of the form such keys have",
        says="{title} at {address} holds something that is no key of {provider}'s: {provider} refuses its requests.",
        remedy="LiteLLM's keys begin with sk-, its master key too (the output of openssl rand alone does not do), "
        "Langfuse's secret keys with sk-lf-. Compare both variables letter by letter, blanks and quotes included.",
    ),
    Rule(
        cause=Cause.AUTH,
        codes=("wrong",),
        signs=("key",),
        proof="the key that one service holds for another is refused, while the provider answers",
        says="{title} at {address} holds a key that {provider} refuses: its requests are refused too.",
        remedy="One of the two was changed without the other, or the key was deleted or has expired. Set both from one "
        "reference (on Railway ${{litellm.LITELLM_MASTER_KEY}}) and redeploy both.",
    ),
)
