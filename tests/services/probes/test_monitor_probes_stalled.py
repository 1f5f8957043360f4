"""A loop of ours that stands still while signals wait for a silent server: they were not asked, whatever comes due."""

import asyncio
import time
from typing import Any

from demo.trial import HOMES, params_of, signals
from monitor.probes.base import Outcome, Sight

KINDS = [kind for kind in HOMES if kind.endswith("_signal")]


def test_signals_that_come_due_in_a_stall_were_not_asked(run: Any, silent: Any) -> None:
    async def act(scene: Any) -> dict[str, Outcome]:
        stage = await scene.serve(silent)
        tasks = {
            f"{kind} {one}": asyncio.ensure_future(scene.ask(kind, params_of(kind, stage.port, one), timeout=0.3))
            for kind in KINDS
            for one in signals(kind)
        }
        await asyncio.sleep(0.1)
        time.sleep(0.5)  # noqa: ASYNC251 -- the stall
        outcomes = {name: await task for name, task in tasks.items()}
        await scene.context.aclose()  # what they shared may still be under way
        return outcomes

    wrong = {name: one for name, one in run(act).items() if one.evidence.sight != Sight.NOT_ASKED}
    assert not wrong
