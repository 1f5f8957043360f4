"""The whole stack: every server by the name the watch gives it, started together, ended together."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, Self

from demo.clickhouse import Clickhouse
from demo.contract import Contract, LoopThread
from demo.contracts.needs import Needs
from demo.litellm import LiteLlm
from demo.ports import free_port
from demo.postgres import Postgres
from demo.process import DemoError, Keeper
from demo.seaweedfs import Seaweedfs
from demo.server import Server
from demo.valkey import Valkey

SERVICES = ("saas-api", "api-gateway", "chat", "inference", "agent", "retrieval", "react-client")
"""Contract servers that need nothing of each other."""


class Part(Protocol):
    """What a real server and a contract server have in common."""

    def start(self) -> object: ...
    def stop(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def environ(self) -> dict[str, str]: ...


class Stack:
    """Every server of the demo.

    `real_litellm` says whether LiteLLM is the real one (None: when it is installed); otherwise its contract server
    stands in. `notes` says in a line each what a person should know about this stack. `variables` are those a user
    of this stack would set; an outage does not change them.
    """

    def __init__(self, keeper: Keeper, *, real_litellm: bool | None = None) -> None:
        self.keeper = keeper
        self.notes: list[str] = []
        self.variables: dict[str, str] = {}
        self.postgres = Postgres(keeper=keeper)
        self.valkey = Valkey(keeper=keeper)
        self.clickhouse = Clickhouse(keeper=keeper)
        self.seaweedfs = Seaweedfs(keeper=keeper)
        self._loop = LoopThread()
        self.litellm = self._litellm(LiteLlm.installed() if real_litellm is None else real_litellm)
        self.contracts = self._contracts()
        self.real: dict[str, Server] = {
            "postgres": self.postgres,
            "redis": self.valkey,
            "clickhouse": self.clickhouse,
            "minio": self.seaweedfs,
        }
        if isinstance(self.litellm, LiteLlm):
            self.real["litellm"] = self.litellm
        else:
            self.contracts["litellm"] = self.litellm
        self.parts: dict[str, Part] = {**self.real, **self.contracts}

    def _litellm(self, real: bool) -> LiteLlm | Contract:
        if real:
            self.notes.append("LiteLLM is the real one; it has no database, so the watch is told not to expect one")
            return LiteLlm(keeper=self.keeper)
        if not LiteLlm.installed():
            self.notes.append("LiteLLM is played by a stand-in; `make demo-litellm` installs the real one (750 MB)")
        needs = Needs(postgres=self.postgres.url("litellm"))
        return self._contract("litellm", needs)

    def _contracts(self) -> dict[str, Contract]:
        """Stand-ins for what has no wheel; each truly looks at the servers that the real one needs."""
        clickhouse = self.clickhouse.environ()
        user, password = clickhouse["CLICKHOUSE_USER"], clickhouse["CLICKHOUSE_PASSWORD"]
        address = clickhouse["CLICKHOUSE_URL"].replace("://", f"://{user}:{password}@")
        litellm = self.litellm.environ()
        postgres, redis = self.postgres.url("langfuse"), self.valkey.environ()["REDIS_URL"]
        web = Needs(postgres=postgres, clickhouse=address)
        worker = Needs(postgres=postgres, redis=redis)
        qdrant = Contract("qdrant", port=free_port(), grpc_port=free_port(), api_key="demo-qdrant-key", loop=self._loop)
        webui = Needs(litellm=litellm["LITELLM_URL"], litellm_key=litellm["LITELLM_MASTER_KEY"])
        return {
            "langfuse-web": self._contract("langfuse-web", web),
            "langfuse-worker": self._contract("langfuse-worker", worker),
            "open-webui": self._contract("open-webui", webui),
            "r2r": self._contract("r2r", Needs(postgres=self.postgres.url("litellm"))),
            "qdrant": qdrant,
            **{kind: self._contract(kind) for kind in SERVICES},
        }

    def _contract(self, kind: str, needs: Needs | None = None) -> Contract:
        return Contract(kind, port=free_port(), needs=needs, loop=self._loop)

    def start(self) -> Self:
        """Starts everything at once; raises DemoError that names what did not start. About 4 s, with LiteLLM 9 s."""
        pool = ThreadPoolExecutor(max_workers=len(self.parts), thread_name_prefix="start")
        started = {name: pool.submit(part.start) for name, part in self.parts.items()}
        problems = []
        try:
            for name, future in started.items():
                try:
                    future.result()
                except (DemoError, OSError, ImportError) as problem:
                    problems.append(f"{name}: {problem}")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if problems:
            raise DemoError("\n".join(problems))
        self.variables = self._environ()
        return self

    def stop(self) -> None:
        """Ends the contract servers. The real ones end with the keeper, all at once."""
        for contract in self.contracts.values():
            contract.stop()
        self._loop.stop()

    def close(self) -> None:
        """Ends everything and removes its data, for one who goes on using the keeper."""
        self.stop()
        for server in self.real.values():
            server.close()

    def _environ(self) -> dict[str, str]:
        variables: dict[str, str] = {}
        for part in self.parts.values():
            variables |= part.environ()
        # What consumers hold, set beside what their providers want.
        variables["OPEN_WEBUI_OPENAI_API_KEY"] = variables["LITELLM_MASTER_KEY"]
        variables["SAAS_API_LITELLM_MASTER_KEY"] = variables["LITELLM_MASTER_KEY"]
        variables["LITELLM_LANGFUSE_PUBLIC_KEY"] = variables["LANGFUSE_PUBLIC_KEY"]
        variables["LITELLM_LANGFUSE_SECRET_KEY"] = variables["LANGFUSE_SECRET_KEY"]
        variables["LITELLM_SYNTHETIC_MODEL"] = "demo-small"  # LiteLLM answers by itself here, so it costs nothing
        variables["WATCH_FILE"] = str(self._watch_file())
        return variables

    def _watch_file(self) -> Path:
        """Says that ClickHouse's disk, this machine's, may be rather full, and that a real LiteLLM has no database."""
        lines = ["[services.clickhouse.checks.disk]", "warn = 99.5", "fail = 99.9"]
        if isinstance(self.litellm, LiteLlm):
            lines += ["[services.litellm]", 'depends_on = ["redis"]']
        path = self.keeper.folder / "watch.toml"
        path.write_text("\n".join([*lines, ""]))
        return path
