"""The backups probe ends what it started."""

import asyncio
import gc

import psutil
import pytest

from config.checks import BackupsParams
from monitor.probes.backups import LIST, probe
from monitor.probes.base import Outcome, ProbeContext, Verdict


@pytest.mark.parametrize("seconds", [0.001, 0.1])
def test_a_listing_that_takes_too_long_is_unknown_and_ended(seconds: float) -> None:
    async def ask() -> Outcome:
        return await probe(BackupsParams(), timeout=seconds, context=ProbeContext())

    outcome = asyncio.run(ask())
    assert outcome.verdict == Verdict.UNKNOWN
    assert f"within {seconds:g} s" in outcome.evidence.text
    children = [child.cmdline() for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    assert [line for line in children if line[1:] == list(LIST[1:])] == []
    gc.collect()  # a child's pipes that outlived the loop would complain now, and fail the test
