"""An archive into a database: from a temporary file with several connections where there is room, else streamed."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup.errors import StoppedError, StoreFullError, TargetError
from backup.postgres.archive import Archive, ending, listed
from backup.postgres.child import Child, Ended
from backup.postgres.explain import one_line, remedy_for
from backup.postgres.login import password_file
from backup.postgres.target import Target

MOST_JOBS = 8
# What must stay free on the disk beside the temporary file.
SPARE = 256 * 1024 * 1024
IN_MEMORY = ("tmpfs", "ramfs")
TABLE = 'pg_restore: processing data for table "'
ERROR = "pg_restore: error: "
# From 17 on pg_restore begins with SET transaction_timeout, which an older server does not know and does not need.
UNKNOWN_SETTING = 'unrecognized configuration parameter "transaction_timeout"'
# None of these matters before the end, when the last commit makes all of it last.
FASTER = "-c synchronous_commit=off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """How it went: by how many connections, and the seconds for fetching (0 when streamed) and loading."""

    jobs: int
    fetch_seconds: float
    load_seconds: float


class Loader:
    """One archive on its way into one database. `plain_bytes` is how much of it has been fetched, `table` the one
    being loaded, `entries` restricts it to some of the archive's entries."""

    def __init__(
        self,
        archive: Archive,
        target: Target,
        database: str,
        *,
        reader_major: int,
        entries: Sequence[str] | None = None,
    ) -> None:
        self.plain_bytes = 0
        self.table = ""
        self.fetching = True
        self._archive = archive
        self._target = target
        self._database = database
        self._entries = entries
        self._tolerant = reader_major >= 17 > target.major
        self._error = ""

    def run(self, stop: threading.Event, tell: Callable[[], object], *, folder: Path | None, jobs: int) -> Loaded:
        """Loads it. Given the folder for a temporary file (None: streamed) and how many connections to use then.

        Raises ArchiveError, StoreError, TargetError, StoppedError; the database holds half of it then.
        """
        began = time.monotonic()
        if folder is None:
            self.fetching = False
            with ending(self._counted(stop)) as source:
                ended = self._restore([], source, (), stop, tell)
            return self._loaded(ended, 1, began, began)
        with self._spooled(folder, stop, tell) as descriptor:
            self.fetching = False
            fetched = time.monotonic()
            argv = [f"--jobs={jobs}", f"/proc/self/fd/{descriptor}"]
            ended = self._restore(argv, None, (descriptor,), stop, tell)
            return self._loaded(ended, jobs, began, fetched)

    @contextmanager
    def _spooled(self, folder: Path, stop: threading.Event, tell: Callable[[], object]) -> Iterator[int]:
        """The descriptor of a file that holds the whole dump, every byte checked. It has no name, so that nothing is
        left of it however we end."""
        with tempfile.TemporaryFile(dir=folder, prefix="watchkeeper-") as file:
            try:
                with ending(self._counted(stop)) as source:
                    for data in source:
                        file.write(data)
                        tell()
                file.flush()
            except OSError as error:
                raise StoreFullError(
                    f"the temporary file in {folder} cannot be written: {error.strerror}",
                    "free space there, or point TMPDIR at a larger disk",
                ) from None
            yield file.fileno()

    def _counted(self, stop: threading.Event) -> Iterator[bytes]:
        with ending(self._archive.plain()) as source:
            for data in source:
                if stop.is_set():
                    raise StoppedError("the restore was told to stop", "nothing half-done is left")
                yield data
                self.plain_bytes += len(data)

    def _restore(
        self,
        argv: Sequence[str],
        source: Iterator[bytes] | None,
        pass_fds: Sequence[int],
        stop: threading.Event,
        tell: Callable[[], object],
    ) -> Ended:
        quoted = self._database.replace("\\", "\\\\").replace("'", "\\'")
        with ExitStack() as stack:
            passfile = stack.enter_context(password_file(self._target.login.password))
            options = [f"--dbname=dbname='{quoted}'", "--no-password", "--verbose"]
            options += [] if self._tolerant else ["--exit-on-error"]
            options += [] if self._target.has_tablespaces() else ["--no-tablespaces"]
            fds = [*pass_fds, *([passfile] if passfile is not None else [])]
            if self._entries is not None:
                fds.append(stack.enter_context(listed(self._entries)))
                options.append(f"--use-list=/proc/self/fd/{fds[-1]}")
            environ = self._target.login.environ(self._database, passfile)
            environ["PGOPTIONS"] = f"{environ.get('PGOPTIONS', '')} {FASTER}".strip()
            child = Child(
                [str(self._archive.program), *options, *argv],
                source=source,
                environ=environ,
                pass_fds=fds,
                hear=self._hear,
            )
            return child.run(stop, tell)

    def _hear(self, line: str) -> bool:
        """Whether it may go on after this line."""
        if line.startswith(TABLE):
            self.table = line.removeprefix(TABLE).rstrip('"')
        elif line.startswith(ERROR) and not (self._tolerant and UNKNOWN_SETTING in line):
            self._error = self._error or line.removeprefix(ERROR)
            return not self._tolerant  # told to exit on error it does so itself, having said why
        elif self._error and line.startswith(("DETAIL:", "HINT:", "CONTEXT:", "Command was:")):
            self._error += f" {line}"
        return True

    def _loaded(self, ended: Ended, jobs: int, began: float, fetched: float) -> Loaded:
        """Raises TargetError when pg_restore says that it did not bring all of it in."""
        if self._error or (ended.code and not self._tolerated(ended)):
            said = one_line(self._error or " ".join(ended.said[-3:])) or f"exit code {ended.code}"
            raise TargetError(f"{self._archive.artifact.label}: pg_restore failed: {said}", remedy_for(said))
        if not ended.took_all:
            raise TargetError(
                f"{self._archive.artifact.label}: pg_restore stopped before the dump's end", "verify the restore point"
            )
        return Loaded(jobs=jobs, fetch_seconds=fetched - began, load_seconds=time.monotonic() - fetched)

    def _tolerated(self, ended: Ended) -> bool:
        return self._tolerant and ended.code == 1 and "errors ignored on restore" in ended.said[-1]


def spool_folder(need: int, preferred: Path | None = None) -> Path | None:
    """A folder on a disk with room for `need` bytes and some to spare; None: there is none. Memory is no disk."""
    for folder in (preferred,) if preferred else (Path(tempfile.gettempdir()), Path("/var/tmp")):  # noqa: S108  one candidate; the file has no name in it
        try:
            roomy = shutil.disk_usage(folder).free > need + SPARE
        except OSError:
            continue
        if roomy and os.access(folder, os.W_OK) and not _in_memory(folder):
            return folder
    return None


def job_count() -> int:
    """Connections to load with: one for each core that is ours."""
    return max(1, min(MOST_JOBS, len(os.sched_getaffinity(0))))


def _in_memory(folder: Path) -> bool:
    """Whether a folder lies in a file system that is memory."""
    device = folder.stat().st_dev
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    return any(line.split()[2] == wanted and line.partition(" - ")[2].split()[0] in IN_MEMORY for line in lines)
