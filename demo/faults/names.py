"""Names and addresses for the daemon alone: which names there are, of which kinds of address, and who listens there.

The daemon runs in a mount namespace in which our own name server is the only source of names. (/etc/hosts would not do:
the C library takes its ::1 for 127.0.0.1 as well.) Everything stays on loopback.
"""

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from config.services import Service
from demo.contract import Contract, LoopThread
from demo.daemon import RUN
from demo.faults.front import Front
from demo.faults.nameserver import NameServer
from demo.outages import Outage
from demo.ports import free_port
from demo.process import DemoError, clean_environ
from demo.stack import Stack

FOUR, SIX, QDRANT = "127.0.0.1", "::1", 6333
OURS = f"127.1.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"
"""An address of this process alone, where the ports that must be certain ones are free."""
KNOWN: Mapping[str, tuple[str, ...]] = {
    "both.internal": (FOUR, SIX),
    "old.internal": (SIX,),
    "client.internal": (FOUR, SIX),
    "lost.internal": (FOUR, SIX),
    "moved.internal": (OURS,),
}
"""The names while all is well, and their addresses."""
FAMILIES: Mapping[str, str] = {"chat-both": "ipv6", "chat-client": "ipv4"}
"""Services that WATCH_FILE has asked over one kind of address beside the question of their preset."""
SAYS: Mapping[str, str] = {
    "chat-both/four_only": "it listens on IPv4 alone, its name has both kinds, and it is asked over IPv6",
    "chat-old/four_only": "it listens on IPv4 alone, and its name has IPv6 alone",
    "chat-client/six_only": "its name loses its IPv4 address, and it is asked over IPv4",
    "chat-lost/name": "its name is not there any more: NXDOMAIN",
    "names/all": "no name of the network is there any more",
    "qdrant-moved/port": "nobody listens at its port; it listens at its usual one",
}
ENTER = """
mount --bind "$1/resolv.conf" /etc/resolv.conf && mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf || exit 3
shift
exec "$@"
"""


class Names:
    """The names, the servers that are met under them, and the ways to break both."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = LoopThread()
        self._servers: dict[str, dict[str, Contract]] = {}
        for name in ("both", "old", "client", "lost"):
            port = free_port()
            hosts = (FOUR, SIX)
            self._servers[name] = {host: Contract("chat", host=host, port=port, loop=self._loop) for host in hosts}
        self._qdrant = Contract("qdrant", api_key="demo-qdrant-key", loop=self._loop).start()
        try:
            self._server = NameServer(OURS, KNOWN)
            self._usual = Front(self._qdrant.port, (OURS, QDRANT))
        except OSError as error:
            raise DemoError(f"no names can be broken here: {error}; ports 53 and 6333 are needed") from error
        self._moved = Front(self._qdrant.port, (OURS, 0))

    def start(self) -> Self:
        """Writes the files and opens what listens. Raises DemoError where no mount namespace can be made."""
        (self._folder / "resolv.conf").write_text(f"nameserver {OURS}\noptions timeout:1 attempts:2\n")
        (self._folder / "nsswitch.conf").write_text("hosts: files dns\n")
        tried = [*self.enter(), "true"]
        done = subprocess.run(tried, capture_output=True, text=True, env=clean_environ(), timeout=10, check=False)
        if done.returncode:
            self._let_go()
            raise DemoError(f"no mount namespace can be made here, so no names can be broken: {done.stderr.strip()}")
        for pair in self._servers.values():
            for contract in pair.values():
                contract.start()
        self._servers["old"][FOUR].stop()
        for server in (self._server, self._usual, self._moved):
            server.start()
        return self

    def stop(self) -> None:
        """Lets go of the ports."""
        for pair in self._servers.values():
            for server in pair.values():
                server.stop()
        for one in (self._server, self._usual, self._moved):
            one.shutdown()
        self._let_go()

    def _let_go(self) -> None:
        self._qdrant.stop()
        self._loop.stop()
        for one in (self._server, self._usual, self._moved):
            one.server_close()

    def command(self) -> list[str]:
        """The daemon's command line, in a namespace where the names are ours."""
        return [*self.enter(), *RUN]

    def enter(self) -> list[str]:
        """What runs another command in a namespace where the names are ours."""
        user = [] if os.geteuid() == 0 else ["-r"]
        return ["unshare", *user, "-m", "sh", "-c", ENTER, "sh", str(self._folder)]

    def variables(self) -> dict[str, str]:
        """What a user would set to have all of it watched."""
        chats = {
            f"CHAT_SERVICE_URL__{name.upper()}": f"http://{name}.internal:{pair[SIX].port}"
            for name, pair in self._servers.items()
        }
        moved = {
            "QDRANT_URL__MOVED": f"http://moved.internal:{self._moved.port}",
            "QDRANT_API_KEY__MOVED": "demo-qdrant-key",
        }
        return chats | moved

    def checks(self, services: Iterable[Service]) -> str:
        """What WATCH_FILE says of those that are asked over one kind of address as well."""
        places = {service.name: urlsplit(service.address) for service in services if service.name in FAMILIES}
        return "".join(
            f'[services.{name}.checks.{FAMILIES[name]}]\nkind = "tcp"\nhost = "{place.hostname}"\n'
            f'port = {place.port}\nfamily = "{FAMILIES[name]}"\n'
            for name, place in places.items()
        )

    def outages(self) -> dict[str, Outage]:
        """The ways in which names and addresses break, by name."""
        both, old = self._servers["both"], self._servers["old"]
        found = [
            self._outage("chat-both/four_only", both[SIX].stop, both[SIX].start),
            self._outage(
                "chat-old/four_only",
                partial(_swap, old[SIX], old[FOUR]),
                partial(_swap, old[FOUR], old[SIX]),
            ),
            self._outage("chat-client/six_only", partial(self._have, "client", (SIX,))),
            self._outage("chat-lost/name", partial(self._have, "lost", None)),
            self._outage("names/all", partial(self._know, {})),
            self._outage("qdrant-moved/port", self._moved.pause, self._moved.resume),
        ]
        return {one.name: one for one in found}

    def _outage(self, name: str, begin: Callable[[], object], end: Callable[[], object] | None = None) -> Outage:
        def run(act: Callable[[], object]) -> Callable[[Stack], None]:
            def on(_: Stack) -> None:
                act()

            return on

        return Outage(name=name, says=SAYS[name], begin=run(begin), end=run(end or partial(self._know, KNOWN)))

    def _have(self, name: str, addresses: tuple[str, ...] | None) -> None:
        known = {**KNOWN, f"{name}.internal": addresses or ()}
        self._know(known if addresses else {one: found for one, found in known.items() if found})

    def _know(self, names: Mapping[str, tuple[str, ...]]) -> None:
        self._server.names = names


def _swap(closed: Contract, opened: Contract) -> None:
    closed.stop()
    opened.start()
