"""What LiteLLM's errors mean: its own refusals told apart from its providers'. Pure."""

import re
from typing import Final

# The first that is found in an error's text decides; LiteLLM names the class of a provider's error in it.
_PROVIDER: Final = (
    ("provider_quota", r"insufficient_quota|exceeded your current quota|credit balance is too low|billing"),
    ("provider_auth", r"AuthenticationError|PermissionDenied|invalid[ _](x-)?api[ _-]key|incorrect api key"),
    ("model_missing", r"NotFoundError|model_not_found|does not exist|decommissioned"),
    ("provider_limit", r"RateLimitError|rate limit"),
    ("provider_unreached", r"APIConnectionError|Timeout|ConnectError|Connection error"),
    ("provider_error", r""),
)
# The worst first: of several that are as frequent, this one is told.
CODES: Final = tuple(code for code, _ in _PROVIDER)


def provider_trouble(text: str) -> str:
    """Gives the code for what a provider's error, as LiteLLM hands it on, proves: one of CODES."""
    return next(code for code, pattern in _PROVIDER if re.search(pattern, text, re.IGNORECASE))


def is_budget(kind: str, text: str) -> bool:
    """Whether LiteLLM itself refuses because a budget it keeps is spent: nothing is broken. `kind` is error.type."""
    return kind == "budget_exceeded" or re.search(r"(?i)budget has been exceeded|ExceededBudget", text) is not None


def is_own_refusal(kind: str) -> bool:
    """Whether LiteLLM refuses the key, or cannot look it up, before any provider is asked. `kind` is error.type."""
    return kind in ("auth_error", "token_not_found_in_db", "expired_key", "no_db_connection")
