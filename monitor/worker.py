"""A thread that runs jobs one after another, and that can be given up when a job hangs.

Unlike an executor's, the thread is a daemon thread: a disk that never answers must not hold up the exit.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Job(Generic[S]):
    """Something to do with the worker's subject, and where its result goes."""

    do: Callable[[S], Any]
    future: "Future[Any]"


class Worker(Generic[S]):
    """Runs jobs on `subject` in the order they were put. All methods may be called from any thread."""

    def __init__(self, name: str, subject: S, last: Callable[[S], None]) -> None:
        """`last` is done with the subject, on the same thread, when the worker has been abandoned."""
        self.subject = subject
        self._last = last
        self._jobs: deque[Job[S]] = deque()
        self._current: Job[S] | None = None
        self._started = 0
        self._ended = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def running(self) -> int | None:
        """The number of the job being run, or None when there is none. A number that stays is a job that hangs."""
        return self._started if self._current is not None else None

    def put(self, do: Callable[[S], T]) -> "Future[T]":
        """Queue `do(subject)`; its future carries the result or the exception. Cancelling that stops nothing."""
        future: Future[T] = Future()
        self.adopt([Job(do, future)])
        return future

    def adopt(self, jobs: list[Job[S]]) -> None:
        """Queue jobs taken over from another worker."""
        with self._change:
            self._jobs.extend(jobs)
            self._change.notify()

    def abandon(self) -> list[Job[S]]:
        """Give the thread up: it ends with the job it is in, whose result is ignored. Gives every unfinished job."""
        with self._change:
            self._ended = True
            jobs = [self._current] if self._current is not None else []
            jobs.extend(self._jobs)
            self._current = None
            self._jobs.clear()
            self._change.notify()
        return jobs

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for an abandoned thread to end; whether it did."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._run_next():
            pass
        self._last(self.subject)

    def _run_next(self) -> bool:
        with self._change:
            self._change.wait_for(lambda: self._jobs or self._ended)
            if self._ended:
                return False
            job = self._jobs.popleft()
            self._current = job
            self._started += 1
        result: Any = None
        failure: BaseException | None = None
        try:
            result = job.do(self.subject)
        except BaseException as error:  # noqa: BLE001 -- handed on whole to whoever waits for the job
            failure = error
        with self._change:
            if self._current is not job:  # abandoned meanwhile: another worker does this job again
                return False
            self._current = None
        with contextlib.suppress(InvalidStateError):  # whoever waited for it has cancelled
            if failure is not None:
                job.future.set_exception(failure)
            else:
                job.future.set_result(result)
        return True
