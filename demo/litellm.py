"""The real LiteLLM proxy, from a venv of its own (`make demo-litellm`), with models that cost nothing."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from demo.ports import free_port
from demo.process import Command, DemoError, Keeper, clean_environ
from demo.server import Server

VENV = Path(__file__).resolve().parent.parent / ".venv-litellm"

MODELS: Sequence[Mapping[str, object]] = [
    {
        "model_name": name,
        "litellm_params": {"model": f"openai/{name}", "api_key": "none", "mock_response": "This is a demo."},
    }
    for name in ("demo-small", "demo-large")
]


class LiteLlm(Server):
    """A proxy with a master key and models that answer by themselves. Takes 300 MB and about 8 s to start.

    It has no database, so its readiness says "Not connected"; `environ()` tells the watch to expect none. `models` are
    what its configuration lists, `venv` is where it is installed, `more` a folder with packages beside those.
    """

    name = "litellm"
    start_timeout = 90.0
    stop_timeout = 10.0

    def __init__(
        self,
        *,
        port: int | None = None,
        master_key: str = "sk-demo-master-key",
        models: Sequence[Mapping[str, object]] = MODELS,
        venv: Path = VENV,
        more: Path | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(keeper=keeper)
        self.port = port or free_port()
        self.master_key = master_key
        self._models = models
        self._venv = venv
        self._more = {"PYTHONPATH": str(more)} if more else {}

    @staticmethod
    def installed() -> bool:
        """Whether its virtual environment is there and complete."""
        return (VENV / ".installed").exists()

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def prepare(self) -> None:
        """Writes its configuration."""
        if self._venv == VENV and not self.installed():
            raise DemoError("LiteLLM is not installed; run: make demo-litellm")
        # JSON is YAML as well.
        (self.folder / "config.yaml").write_text(
            json.dumps({"model_list": list(self._models), "litellm_settings": {"telemetry": False}})
        )

    def command(self) -> Command:
        """The proxy without telemetry, update checks or a price list from elsewhere."""
        return Command(
            argv=[
                *(str(self._venv / "bin" / "python"), "-W", "ignore", str(self._venv / "bin" / "litellm")),
                *("--config", str(self.folder / "config.yaml"), "--host", self.host, "--port", str(self.port)),
                *("--telemetry", "False"),
            ],
            environ=clean_environ(
                HOME=str(self.folder),
                TMPDIR=str(self.folder),
                LITELLM_MASTER_KEY=self.master_key,
                LITELLM_LOCAL_MODEL_COST_MAP="True",
                LITELLM_TELEMETRY="False",
                LITELLM_MODE="PRODUCTION",  # reads no .env file from anywhere
                **self._more,
            ),
        )

    def ready(self) -> bool:
        """Whether it is alive."""
        try:
            return httpx.get(f"{self.url}/health/liveliness", timeout=2, trust_env=False).is_success
        except httpx.TransportError as error:
            raise OSError(str(error)) from error

    def environ(self) -> dict[str, str]:
        """LITELLM_URL and its key."""
        return {"LITELLM_URL": self.url, "LITELLM_MASTER_KEY": self.master_key}
