"""Are the backups what they should be? Asks the store, by a child process: minio's memory goes back when it ends."""

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence

from config.checks import BackupsParams
from monitor.freshness import Row, judge_points
from monitor.probes.base import Evidence, Outcome, ProbeContext, Sight, Verdict, clean

LIST = (sys.executable, "-m", "backup", "list", "--json")
RESTORED = ("restored", "equal")
LAST_WAIT = 0.4  # seconds for a killed child to be gone; below the margin every probe has beyond its deadline


async def probe(params: BackupsParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Lists the restore points and judges their freshness. A store that cannot be read is unknown, not a failure."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    process = None
    try:
        async with asyncio.timeout(timeout):
            process = await asyncio.create_subprocess_exec(
                *LIST, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            out, err = await process.communicate()
    except TimeoutError:
        return _unseen(f"the store did not tell its restore points within {timeout:g} s", loop.time() - began)
    finally:
        if process is not None:
            await _end(process)
    latency = loop.time() - began
    if process.returncode:
        lines = err.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
        return _unseen(lines[-1], latency)
    try:
        rows = [Row.read(row) for row in json.loads(out)["points"]]
    except (ValueError, KeyError, TypeError) as error:
        return _unseen(f"the list of restore points cannot be read: {type(error).__name__}", latency)
    found = judge_points(
        rows,
        period=params.period,
        max_bytes=params.max_bytes,
        engines=params.engines,
        failed_run=context.failed_backup(),
    )
    if found.sign == "none" and context.first_backup():
        return _unseen("no backup run has ended yet", latency, sign="first")
    return Outcome(
        verdict=Verdict(found.grade),
        latency=latency,
        evidence=Evidence(sight=Sight.ANSWERED, text=clean(found.text), sign=found.sign),
        facts=_facts(rows),
    )


def _facts(rows: Sequence[Row]) -> dict[str, str]:
    """How many points there are, the newest and its proof, the newest that lacks nothing and the newest that was
    restored ("": none)."""
    restored = next((row.id for row in rows if row.proof in RESTORED), "")
    newest = {"newest": rows[0].id, "proof": rows[0].proof} if rows else {}
    complete = next((row.id for row in rows if row.whole and not row.failed and not row.problem), "")
    return {"points": str(len(rows)), **newest, "complete": complete, "restored": restored}


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends it if it has not ended, and sees it end: a loop that closes before that complains."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WAIT):
            await process.wait()


def _unseen(text: str, latency: float, *, sign: str = "store") -> Outcome:
    evidence = Evidence(sight=Sight.ANSWERED, text=clean(text), sign=sign)
    return Outcome(verdict=Verdict.UNKNOWN, latency=latency, evidence=evidence)
