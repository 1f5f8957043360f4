"""The container's entry point: owns STATE_DIR as root, becomes an ordinary user, then becomes the daemon.

A mounted volume belongs to root, and the daemon must not run as root: this is the one step in between. It replaces its
own process, so the daemon is PID 1 and gets the platform's signals itself.
"""

import os
import pwd
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from config.env import Env
from config.settings import StateSettings

USER = "watchkeeper"
EXIT_CONFIGURATION = 2


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Does what is asked (`run` and its options, or `health`); gives an exit code only where it does not exec."""
    if arguments[:1] == ["health"]:
        return health(environ)
    folder = StateSettings.read(Env(environ)).folder
    if os.getuid() == 0:
        try:
            user = pwd.getpwnam(environ.get("WATCHKEEPER_USER", USER))
        except KeyError:
            sys.stderr.write(f"container: no user {USER} here; build the image from the Dockerfile\n")
            return EXIT_CONFIGURATION
        if folder and (problem := own(folder, user)):
            sys.stderr.write(f"container: {problem}\n")
        become(user)
    return os.execv(sys.executable, [sys.executable, "-m", "monitor", *arguments])  # noqa: S606 -- there is no shell


def own(folder: Path, user: pwd.struct_passwd) -> str | None:
    """Makes `folder` and what lies in it the user's. Gives what went wrong, in words: the daemon says what follows."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder, *folder.iterdir()):
            if path.lstat().st_uid != user.pw_uid and not path.is_symlink():
                os.chown(path, user.pw_uid, user.pw_gid)
    except OSError as error:
        return f"{folder} cannot be given to {user.pw_name} ({error.strerror}); check the volume's mount path"
    return None


def become(user: pwd.struct_passwd) -> None:
    """Drops root for good: groups first, since afterwards it is too late."""
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    # libpq looks for certificates below HOME, and root's is closed to the user: every TLS connection would fail.
    os.environ["HOME"] = user.pw_dir


def health(environ: Mapping[str, str]) -> int:
    """Asks the daemon on this host whether it is well: 0 or 1, as Docker's HEALTHCHECK wants it."""
    port = int(environ.get("PORT") or "8080")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=4) as answer:
            return 0 if answer.status == 200 else 1
    except (urllib.error.URLError, OSError) as error:
        sys.stderr.write(f"container: no healthy answer on port {port}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
