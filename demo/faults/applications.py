"""Rows of the matrix about LiteLLM, Langfuse, Open WebUI and what runs beside them."""

from collections.abc import Callable
from typing import Literal

from config.causes import Cause
from demo.expectations import Expected, Told, degraded, down, expected
from demo.faults.matrix import SLOW, TRACE, WEDGED, Play, Row, play, queue
from demo.mistakes import Mistake, Variables

NEAR_LITELLM = frozenset({"open-webui", "saas-api"})
LOST, NEVER = "has lost its database", "started without reaching its database"


def _wrong(variable: str, says: str, value: Callable[[Variables], str], wanted: Expected, *, on: str = "") -> Play:
    """A wrong variable that only the matrix plays."""
    own = Mistake(variable=variable, says=says, value=value, expected=wanted)
    return play(own.name, own=own, on=on)


def _old(name: str, fault: str, shows: str, state: Literal["down", "degraded"] = "down") -> Play:
    """A fault of LiteLLM's stand-in as an older version."""
    same = expected(f"litellm/{fault}").not_up["litellm"]
    return play(f"{name}/{fault}", wanted=Expected(not_up={name: Told(state, same.cause)}, shows=shows))


APPLICATIONS: tuple[Row, ...] = (
    Row(
        number=1,
        failure="LiteLLM runs and has lost its database",
        plays=(
            play("postgres", on="real PostgreSQL"),
            play("litellm/db_lost", uses=NEAR_LITELLM),
            _old("litellm-old", "db_lost", "database fails"),
            _old("litellm-spring", "db_lost", LOST),
            _old("litellm-bare", "db_lost", LOST, "degraded"),
        ),
        apart="PostgreSQL is asked itself: if it is well, LiteLLM has lost its connection, and PostgreSQL is not "
        "named. The answer is read in each of its forms (200, 503 with a text, 503 with db)",
    ),
    Row(
        number=2,
        failure="LiteLLM started while its database was away, and never connected",
        plays=(
            play("litellm/db_not_connected", uses=NEAR_LITELLM),
            _old("litellm-old", "db_not_connected", NEVER),
            _old("litellm-spring", "db_not_connected", NEVER),
        ),
        apart="“Not connected” is a fault only where a database is expected; it is another word than “disconnected”",
    ),
    Row(
        number=3,
        failure="Consumers hold another key than LiteLLM's",
        plays=(
            play("litellm/key", uses=NEAR_LITELLM),
            _wrong(
                "LITELLM_MASTER_KEY__REAL",
                "holds another key",
                lambda _: "sk-another",
                Expected(not_up=degraded(Cause.AUTH, "litellm-real"), shows="LITELLM_MASTER_KEY__REAL"),
                on="real LiteLLM",
            ),
            play("OPEN_WEBUI_OPENAI_API_KEY holds another key"),
            play("SAAS_API_LITELLM_MASTER_KEY holds a key without sk-"),
            play("R2R_OPENAI_API_KEY holds a provider's key"),
        ),
        apart="each consumer's key is tried at LiteLLM: one refused alone is that consumer's; all refused is LiteLLM's",
    ),
    Row(
        number=4,
        failure="Open WebUI keeps an old key in its database, while the variables agree",
        plays=(play("open-webui/stale_key"),),
        apart="the key of its variable is accepted by LiteLLM, and its own list of models is empty all the same",
    ),
    Row(
        number=5,
        failure="LiteLLM's salt key was changed: what its database holds cannot be decrypted",
        plays=(
            play("litellm/salt_changed", uses=NEAR_LITELLM),
            play(
                "litellm/stored_models_vanished",
                wanted=Expected(not_up=degraded(Cause.BAD_ANSWER, "litellm"), shows="decrypted"),
                uses=NEAR_LITELLM,
                within=SLOW,
            ),
        ),
        apart="the key is accepted and the list of models is empty, or shorter than it was",
    ),
    Row(
        number=6,
        failure="A provider refuses the key LiteLLM has for it",
        plays=(
            play("litellm/provider_key_expired", uses=NEAR_LITELLM),
            _old("litellm-old", "provider_quota_spent", "out of money or quota", "degraded"),
            _old("litellm-spring", "provider_model_retired", "Providers retire models", "degraded"),
            _old("litellm-bare", "provider_gone", "does not reach a provider", "degraded"),
        ),
        apart="LiteLLM takes our key, and its own stored checks hold the provider's 401. Quota spent, model retired "
        "and provider out of reach have causes of their own",
    ),
    Row(
        number=7,
        failure="A budget is spent",
        plays=(play("litellm/budget_exceeded", uses=NEAR_LITELLM),),
        apart="budget_exceeded is LiteLLM doing what it was told to: nothing is told, and our own completions rest",
    ),
    Row(
        number=11,
        failure="Langfuse's worker takes no jobs, and its health is green",
        plays=(
            queue(
                "jobs_stand",
                wanted=Expected(not_up=degraded(Cause.STUCK, "langfuse-worker"), shows="none was taken for 4 min"),
                within=WEDGED,
            ),
            queue("jobs_wait"),
            queue("jobs_overdue"),
            queue("queue_paused"),
            play("langfuse-worker/queue_stuck"),
        ),
        apart="the queues are read in Redis themselves: what waits, for how long, and whether anything is taken",
    ),
    Row(
        number=12,
        failure="Langfuse takes traces, and they never appear",
        plays=(
            play(
                "langfuse-web/traces_lost",
                wanted=Expected(not_up=degraded(Cause.STUCK, "langfuse-web"), shows="they do not appear"),
                within=TRACE,
            ),
        ),
        apart="a trace of our own is written and looked for; the queues and ClickHouse are well and are not named",
    ),
    Row(
        number=18,
        failure="Langfuse ends itself at start: ClickHouse is one node, and a cluster was expected",
        plays=(play("langfuse-web", wanted=Expected(not_up=down(Cause.REFUSED, "langfuse-web"), shows="code 139")),),
        apart="from outside it refuses connections, and ClickHouse itself is well; the words are in its log alone, so "
        "the remedy names what to look for there",
    ),
    Row(
        number=19,
        failure="Langfuse ends itself at start: a migration was left half done",
        plays=(
            play(
                "langfuse-web/refuse",
                wanted=Expected(not_up=down(Cause.REFUSED, "langfuse-web"), shows="Dirty database version"),
            ),
        ),
        apart="as 18",
    ),
    Row(
        number=27,
        failure="LiteLLM's deployment never goes live: the platform asks /health, which wants a key",
        plays=(
            play(
                "litellm-bare/refuse",
                wanted=Expected(not_up=down(Cause.REFUSED, "litellm-bare"), shows="healthcheckPath /health"),
            ),
        ),
        apart="the platform alone sees its own check; from outside nothing listens, and the remedy names this reason "
        "first. We never ask /health",
    ),
    Row(
        number=28,
        failure="A service crashed so often that the platform restarts it no more",
        plays=(
            play("litellm-real/stop", wanted=Expected(not_up=down(Cause.REFUSED, "litellm-real"), shows="ten crashes")),
        ),
        apart="refused at first, and after ten minutes of nothing else not_restarted; the remedy says that a redeploy "
        "by hand is needed. Crashes are the platform's to count",
    ),
    Row(
        number=29,
        failure="A service that slept wakes up",
        plays=(play("saas-api/waking", wanted=Expected(why="a second look finds it well")),),
        apart="the edge's first 502 is followed by a right answer: nothing is told",
    ),
)
