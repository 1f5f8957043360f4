"""A look at a network of our own, in a namespace: addresses of both kinds, a name of one kind, one that swallows all.

Nothing leaves the machine: the namespace has no way out, and its names come from a file.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from demo.process import clean_environ

HOSTS = """127.0.0.1 localhost
10.9.0.1 both.internal
fd09::1 both.internal
fd09::1 old.internal
10.9.0.66 filtered.internal
"""
# Packets to .66 go out to nobody, without a word. "nodad": the address serves at once.
NETWORK = """
set -e
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v1 up
ip link set v0 up
ip addr add 10.9.0.1/24 dev v0
ip addr add fd09::1/64 dev v0 nodad
ip neigh add 10.9.0.66 lladdr 02:00:00:00:00:66 dev v0
mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
exec "$2" -c "$3"
"""
LOOK = """
import socket, subprocess, sys
six, four = socket.socket(socket.AF_INET6), socket.socket()
six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
six.bind(("::", 7001))
four.bind(("0.0.0.0", 7002))
six.listen()
four.listen()
sys.exit(subprocess.call([sys.executable, "-P", "-m", "monitor", "check", "--json", "--timeout", "0.5"]))
"""

# name, host, port, family → state, cause, words of the sentence, and by what it is reached.
SEEN: list[tuple[str, str, int, str, str, str | None, str, str]] = [
    ("binds-six", "both.internal", 7001, "ipv4", "down", "ipv6_only", "listens on IPv6 alone", ""),
    ("binds-four", "both.internal", 7002, "ipv6", "down", "ipv4_only", "listens on IPv4 alone", ""),
    ("named-six", "old.internal", 7001, "ipv4", "down", "ipv6_only", "has IPv6 addresses only", ""),
    ("stopped-on-six", "old.internal", 7009, "any", "down", "refused", "over IPv6, the only kind", ""),
    ("stopped", "both.internal", 7009, "any", "down", "refused", "nothing listens", ""),
    ("filtered", "filtered.internal", 7001, "any", "down", "timeout", "in time", ""),
    ("typo", "olt.internal", 7001, "any", "down", "dns", "while both.internal resolves", ""),
    ("old-network", "old.internal", 7001, "any", "up", None, "", "IPv6 only: its name has no IPv4 address"),
    ("old-habit", "both.internal", 7002, "any", "up", None, "", "IPv4 only: IPv6 is refused"),
]


def enter() -> list[str]:
    """The command that runs another one in namespaces of its own; skips where there can be none, which CI fails."""
    user = [] if os.geteuid() == 0 else ["-r"]
    words = ["unshare", *user, "-n", "-m"]
    missing = [name for name in ("unshare", "ip", "mount") if not shutil.which(name)]
    why = f"{', '.join(missing)} not installed: Debian's packages util-linux and iproute2" if missing else ""
    if not why:
        trial = "mount --bind /etc/hosts /etc/hosts && ip link add v0 type veth peer name v1"
        tried = subprocess.run([*words, "sh", "-c", trial], capture_output=True, text=True, timeout=10, check=False)
        why = f"no network namespace with a cable can be made here: {tried.stderr.strip()}" if tried.returncode else ""
    if why and os.environ.get("CI"):
        pytest.fail(why)
    if why:
        pytest.skip(why)
    return words


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What one look at all of them says, by name."""
    words, folder = enter(), tmp_path_factory.mktemp("network")
    (folder / "hosts").write_text(HOSTS)
    (folder / "nsswitch.conf").write_text("hosts: files\n")
    (folder / "watch.toml").write_text(
        "".join(
            f'[services.{name}.checks.opens]\nkind = "tcp"\nhost = "{host}"\nport = {port}\nfamily = "{family}"\n'
            for name, host, port, family, *_ in SEEN
        )
    )
    done = subprocess.run(
        [*words, "sh", "-c", NETWORK, "sh", str(folder), sys.executable, LOOK],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**clean_environ(), "WATCH_FILE": str(folder / "watch.toml")},
    )
    assert done.returncode == 1, done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)["services"]}


@pytest.mark.parametrize("row", SEEN, ids=[row[0] for row in SEEN])
def test_a_real_network_is_told_as_it_is(found: dict[str, dict[str, Any]], row: tuple[Any, ...]) -> None:
    name, _, _, _, state, cause, words, over = row
    one = found[name]
    assert (one["state"], one["cause"]) == (state, cause)
    assert words in (one["sentence"] or "")
    assert one["facts"].get("reached_over", "") == over
