"""The watchdog, on a process of its own that really stands still."""

import subprocess
import sys
import time

STALLS = """
import asyncio, time
from monitor.watchdog import Watchdog

async def main():
    watchdog = Watchdog(tick=0.05, patience=10)
    watchdog.start()
    for _ in range(20):
        watchdog.beat()
        await asyncio.sleep(0.05)
    print("stalling now", flush=True)
    the_line_that_hangs()

def the_line_that_hangs():
    time.sleep(60)

asyncio.run(main())
"""


def test_a_stalled_loop_ends_the_process_with_its_stacks_in_the_log() -> None:
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", STALLS], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 70
    assert "stalling now" in ended.stdout
    assert "the loop has stood still" in ended.stderr
    assert "the_line_that_hangs" in ended.stderr
    assert time.monotonic() - began < 20


def test_a_loop_that_turns_is_left_alone() -> None:
    code = STALLS.replace("the_line_that_hangs()\n\ndef", "watchdog.stop()\n\ndef")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0
    assert "stood still" not in ended.stderr
