"""A thread that ends the process when a loop has stood still, with every stack in the log; the platform restarts it."""

import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from typing import TextIO

EXIT_STALLED = 70  # sysexits' EX_SOFTWARE


class Watchdog:
    """Counts its own ticks of `tick` seconds; `patience` ticks without a `beat()` end the process.

    It counts ticks and compares no clocks: a machine that was suspended stopped the ticks as well, and is not a stall.
    `end` is what ends the process once the stacks are written to `stream`.
    """

    def __init__(
        self,
        *,
        tick: float = 1.0,
        patience: int = 30,
        stream: TextIO | None = None,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._tick = tick
        self._patience = patience
        self._stream = stream or sys.stderr
        self._end = end
        self._silent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Starts the thread; the first beat is due within the whole patience."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. Call it before a shutdown that may take longer than the patience."""
        self._stop.set()

    def beat(self) -> None:
        """Says that the loop turned."""
        self._silent = 0

    def _run(self) -> None:
        while not self._stop.wait(self._tick):
            self._silent += 1
            if self._silent >= self._patience:
                self._bark()
                return

    def _bark(self) -> None:
        seconds = self._silent * self._tick
        print(f"watchdog: the loop has stood still for {seconds:.0f} s; every stack follows", file=self._stream)
        faulthandler.dump_traceback(file=self._stream, all_threads=True)
        self._stream.flush()
        self._end(EXIT_STALLED)
