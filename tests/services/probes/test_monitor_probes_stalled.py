"""A loop of ours that stands still while signals wait for a silent server: they were not asked, whatever comes due."""

import asyncio
import time
from typing import Any

import pytest

from demo.trial import HOMES, params_of, signals
from monitor.probes.base import Outcome, Sight

KINDS = [kind for kind in HOMES if kind.endswith("_signal")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_that_comes_due_in_a_stall_was_not_asked(run: Any, silent: Any, kind: str) -> None:
    async def act(scene: Any) -> list[Outcome]:
        stage = await scene.serve(silent)
        asked = [params_of(kind, stage.port, one) for one in signals(kind)]
        tasks = [asyncio.ensure_future(scene.ask(kind, params, timeout=0.3)) for params in asked]
        await asyncio.sleep(0.1)
        time.sleep(0.5)  # noqa: ASYNC251 -- the stall
        outcomes = await asyncio.gather(*tasks)
        await scene.context.aclose()  # what they shared may still be under way
        return outcomes

    for outcome in run(act):
        assert outcome.evidence.sight == Sight.NOT_ASKED, outcome
