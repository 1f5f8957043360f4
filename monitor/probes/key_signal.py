"""Whether a service takes the key that another one holds for it: two variables that must match, and are set apart."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Final

from config.secret import Secret
from config.signals import KeySignalParams
from monitor.probes.ask import Said, ask, basic, bearer, beside, told_elsewhere
from monitor.probes.base import Answer, Outcome, ProbeContext, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """How a key is tried: what is asked, what stands in its answer, what a refusal of its own says, how its keys begin.

    Whatever else refuses us, such as a proxy before it, proves nothing about the key.
    """

    title: str
    path: str
    answer: str
    refusal: str
    form: str


PROVIDERS: Final = {
    "litellm": Provider(title="LiteLLM", path="/v1/models", answer="data", refusal=r'"error": ?\{', form=r"sk-"),
    "qdrant": Provider(title="Qdrant", path="/collections", answer="result", refusal=r"API key|JWT", form=r""),
    "langfuse": Provider(
        title="Langfuse", path="/api/public/projects", answer="data", refusal=r"credentials|API key", form=r"sk-lf-"
    ),
}

# How the keys of others begin. The longest beginning that fits tells whose a key is.
_WHOSE: Final = (
    (r"(sk|pk)-lf-", "Langfuse"),
    (r"sk-ant-", "Anthropic"),
    (r"sk-(proj|svcacct|admin)-", "OpenAI"),
    (r"sk-or-", "OpenRouter"),
    (r"gsk_", "Groq"),
    (r"AIza", "Google"),
    (r"eyJ", "a login (it is a JSON web token)"),
    (r"\$?\{", "nobody: it is a reference that was not filled in"),
)


async def probe(params: KeySignalParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Tries the key. Evidence.code is how it fails: wrong, foreign (another service's), form (none of a key's)."""
    return await beside(partial(_try, params, timeout, context), timeout=timeout, secrets=(params.key, params.user))


async def _try(params: KeySignalParams, timeout: float, context: ProbeContext) -> Answer:
    provider = PROVIDERS[params.provider]
    if params.provider == "langfuse":
        headers = basic(params.user or Secret(""), params.key)
    elif params.provider == "qdrant":
        headers = {"api-key": params.key.reveal()}
    else:
        headers = bearer(params.key)
    said = await ask(context, "GET", params.url.rstrip("/") + provider.path, timeout=timeout, headers=headers)
    return weigh(said, params)


def weigh(said: Said, params: KeySignalParams) -> Answer:
    """Gives what the provider's answer to the key proves. Pure."""
    provider = PROVIDERS[params.provider]
    if said.status == 200 and isinstance(said.get(provider.answer), list | dict):
        return Answer(verdict=Verdict.PASS, text=f"{provider.title} takes the key")
    if not _refuses_key(said, provider):
        return told_elsewhere(f"{provider.title} does not answer as it should (HTTP {said.status})")
    words = said.get("error", "message") or said.get("message") or said.get("status", "error") or said.text
    code, why = _kind(params.key, provider)
    text = f"{provider.title} answers HTTP {said.status} to the key{why}: {words}"
    return Answer(verdict=Verdict.FAIL, text=text, sign="key", code=code)


def _refuses_key(said: Said, provider: Provider) -> bool:
    """Whether this is the provider's own refusal of a key; a LiteLLM without a database has one of its own."""
    if said.status == 400:
        return bool(said.get("error", "type") == "no_db_connection")
    return said.status in (401, 403) and re.search(provider.refusal, said.text, re.IGNORECASE) is not None


def _kind(key: Secret, provider: Provider) -> tuple[str, str]:
    """What is wrong with a key that is refused, as far as its own look tells; the words are put behind "the key"."""
    text = key.reveal()
    for pattern, whose in _WHOSE:
        if re.match(pattern, text) and whose != provider.title:
            return "foreign", f", which by its look belongs to {whose}"
    if provider.form and not re.match(provider.form, text):
        return "form", f", which does not begin with {provider.form}"
    return "wrong", ""
