"""Runs `python -m backup …` again and again without paying for its imports each time: a process that has made them, and
forks. Reads requests as JSON lines and answers each with one: {"words", "environ", "folder", "out", "err"} starts a
program and gives its pid; {"poll": pid} gives its exit code (negative: a signal), null while it runs.

A child differs from a program started anew only in what it did not have to read from the disk.
"""

import gc
import importlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

IMPORTS = (
    *("backup.__main__", "backup.command_run", "backup.command_restore", "backup.command_list"),
    *("backup.sources.postgres", "backup.sources.clickhouse", "backup.postgres.part"),
    *("backup.storage.s3", "backup.storage.folder", "psycopg", "pydantic", "typer.core"),
)


def become(request: dict[str, Any]) -> None:
    """In the child: the environment, the folder and the streams that it was asked for."""
    for number, path in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        opened = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv = ["backup", *request["words"]]


def run(words: list[str]) -> None:
    """`python -m backup …`, or `python -c …` where the first word says so."""
    if words[0] == "-c":
        exec(words[1], {"__name__": "__main__"})
        return
    from backup.__main__ import main as program

    program()


def main() -> None:
    """Answers until its input ends; in a child, goes on as the program."""
    for name in IMPORTS:
        importlib.import_module(name)
    # Only a process of one thread may fork.
    assert threading.active_count() == len(list(Path("/proc/self/task").iterdir())) == 1
    gc.freeze()
    codes: dict[int, int] = {}
    waiting = b""
    while data := os.read(0, 1 << 20):
        line, end, waiting = (waiting + data).partition(b"\n")
        if not end:
            waiting = line
            continue
        request = json.loads(line)
        if pid := request.get("poll"):
            if pid not in codes:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes[pid] = os.waitstatus_to_exitcode(status)
            answer: Any = codes.get(pid)
        elif not (answer := os.fork()):
            become(request)
            run(request["words"])
            return
        else:
            codes.pop(answer, None)  # of an earlier child: numbers come again
        os.write(1, f"{json.dumps(answer)}\n".encode())


if __name__ == "__main__":
    main()
