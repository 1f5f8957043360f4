"""A short completion through LiteLLM now and then: it costs money, so it is asked for seldom and within a budget."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

from config.signals import LitellmSignalParams
from monitor.net import Stage, progress
from monitor.probes.ask import Said, ask, bearer, number, told_elsewhere
from monitor.probes.base import Answer, ProbeContext, Verdict, not_available
from monitor.probes.litellm_words import is_budget, is_own_refusal, provider_trouble

MOST = 16  # tokens it may answer with; some providers take no smaller bound
RESERVE = 64  # tokens a completion that told no number counts for
PAUSE = 3600.0  # seconds without another after a budget or a limit said no
LOOKS = 3  # misses in a row that are looked at again at once; after them a look every RETRY seconds
RETRY: Final = 300.0
QUESTION = "Reply with OK."


@dataclass(slots=True, kw_only=True)
class Account:
    """What the completions of one model have cost on `day` (UTC), and what the newest one said.

    Times are the loop's. `answer` stands until `next_at`; until `resume_at` nothing is asked whatever it was.
    """

    day: date
    tokens: int = 0
    dollars: float = 0.0
    misses: int = 0
    answer: Answer | None = None
    next_at: float = 0.0
    resume_at: float = 0.0
    measures: Mapping[str, float] = field(default_factory=dict)

    def turn(self, today: date) -> None:
        """Begins a new day with nothing spent."""
        if today != self.day:
            self.day, self.tokens, self.dollars = today, 0, 0.0

    def spend(self, tokens: int, dollars: float) -> dict[str, float]:
        """Books a completion; gives what the day has come to, for the metrics."""
        self.tokens += tokens
        self.dollars += dollars
        return {"tokens_today": float(self.tokens), "cost_today_dollars": self.dollars}


async def completion(params: LitellmSignalParams, timeout: float, context: ProbeContext) -> Answer:
    """Asks for a completion if one is due, else repeats the newest answer."""
    loop, now = asyncio.get_running_loop(), datetime.now(UTC)
    key = ("litellm_completion", params.url, params.key, params.model)
    account: Account = context.accounts.setdefault(key, Account(day=now.date()))
    account.turn(now.date())
    if account.answer and loop.time() < max(account.next_at, account.resume_at):
        return account.answer
    if account.tokens + RESERVE > params.daily_tokens:
        spent = not_available(f"today's {params.daily_tokens:.0f} tokens are spent; it goes on at midnight UTC")
        return account.answer if account.answer and account.answer.verdict == Verdict.FAIL else spent
    began = loop.time()
    try:
        said = await _complete(params, timeout, context)
    except TimeoutError:
        seen = progress.get()
        if seen and seen.stage in (Stage.LOOK_UP, Stage.CONNECT, Stage.TLS):
            raise
        answer = _late(timeout, account)
    else:
        answer = weigh(said, params.model, loop.time() - began, account)
    return _settle(account, answer, params, loop.time())


async def _complete(params: LitellmSignalParams, timeout: float, context: ProbeContext) -> Said:
    url = params.url.rstrip("/") + "/v1/chat/completions"
    body = {
        "model": params.model,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": MOST,
        "cache": {"no-cache": True},  # LiteLLM's own: the answer is to come from the provider
        "user": "watchkeeper",
    }
    async with asyncio.timeout(timeout * 0.9):
        return await ask(context, "POST", url, timeout=timeout, headers=bearer(params.key), body=body)


def _settle(account: Account, answer: Answer, params: LitellmSignalParams, now: float) -> Answer:
    """Keeps the answer, and when to ask again: late after a pass, soon after a miss, and not at all when told off."""
    account.answer = answer
    account.misses = account.misses + 1 if answer.verdict == Verdict.FAIL else 0
    if answer.verdict == Verdict.FAIL:
        account.next_at = now + (0.0 if account.misses < LOOKS else min(RETRY, params.every))
    else:
        account.next_at = now + params.every
    if answer.code in ("budget", "limit"):
        account.resume_at = now + PAUSE
    return answer


def weigh(said: Said, model: str, seconds: float, account: Account) -> Answer:
    """Gives what the answer to a completion proves, and books its tokens in `account`."""
    choices = said.get("choices")
    if said.status == 200 and isinstance(choices, list) and choices:
        tokens, dollars = _price(said)
        measures = account.spend(tokens, dollars)
        text = f"{model} answered in {seconds:.1f} s for {tokens} tokens; today {account.tokens} tokens"
        return Answer(verdict=Verdict.PASS, text=text, measures=measures)
    if not isinstance(said.get("error"), dict):
        return told_elsewhere(f"LiteLLM does not answer as it should (HTTP {said.status})")
    kind, message = str(said.get("error", "type") or ""), str(said.get("error", "message") or said.text)
    if is_budget(kind, message):
        return _resting("budget", f"paused for an hour: a budget that LiteLLM keeps is spent ({message[:120]})")
    if is_own_refusal(kind):
        return told_elsewhere("LiteLLM refuses the key")
    code = _code(said.status, kind, message)
    if code == "limit":
        return _resting("limit", f"paused for an hour: LiteLLM or its provider limits requests ({message[:120]})")
    text = f"HTTP {said.status} for a completion of {model}: {message}"
    return Answer(verdict=Verdict.FAIL, text=text, sign="completion", code=code)


def _code(status: int, kind: str, message: str) -> str:
    """The kind of trouble an error that is no refusal of LiteLLM's own is."""
    if kind == "overloaded_error":
        return "overloaded"
    if kind.endswith("model_access_denied"):
        return "not_allowed"
    if "Invalid model name" in message:
        return "unknown_model"
    trouble = provider_trouble(message)
    return "limit" if status == 429 and trouble != "provider_quota" else trouble


def _resting(code: str, why: str) -> Answer:
    answer = not_available(why)
    return Answer(verdict=answer.verdict, text=answer.text, sign=answer.sign, code=code)


def _late(timeout: float, account: Account) -> Answer:
    """What it means that none came in time. It may have been paid for all the same."""
    measures = account.spend(RESERVE, 0.0)
    text = f"no completion came within {timeout * 0.9:.0f} s"
    return Answer(verdict=Verdict.FAIL, text=text, sign="completion", code="late", measures=measures)


def _price(said: Said) -> tuple[int, float]:
    """The tokens and the dollars of a completion, as LiteLLM counts them."""
    told = number(said.get("usage", "total_tokens"))
    tokens = RESERVE if told is None else max(1, int(told))
    for name in ("x-litellm-response-cost", "x-litellm-response-cost-original"):
        try:
            return tokens, max(0.0, number(float(said.headers[name])) or 0.0)
        except (KeyError, ValueError):
            continue
    return tokens, 0.0
