"""LiteLLM of two versions: one of each kind of readiness answer."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from config.checks import HttpParams
from config.services import Check
from demo.litellm import MODELS, VENV, LiteLlm
from demo.ports import free_port
from demo.process import DemoError, Keeper
from demo.recorders.book import Book
from demo.recorders.http import ask, find

# Before 1.84, which made readiness answer 503 for a lost database and tell less of itself.
OLDER = "litellm[proxy]==1.80.8"
# LiteLLM's images have it. Without it some versions answer 500 instead of 401: they look errors up in it.
PRISMA = "prisma==0.15.0"

WRONG_KEY = "sk-recorded-wrong-key"
PROVIDER_KEY = "sk-recorded-provider-key"

# What OpenAI's API answers, in its own words, behind a LiteLLM that hands it on: model → status and error.
PROVIDER_SAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "provider_key_refused": (401, {"message": "Incorrect API key provided: sk-***.", "code": "invalid_api_key"}),
    "provider_quota": (
        429,
        {"message": "You exceeded your current quota, please check your plan.", "code": "insufficient_quota"},
    ),
    "provider_limit": (429, {"message": "Rate limit reached for requests", "code": "rate_limit_exceeded"}),
    "provider_without_model": (
        404,
        {"message": "The model `gpt-4-32k` has been deprecated", "code": "model_not_found"},
    ),
    "provider_broken": (500, {"message": "The server had an error while processing your request", "code": None}),
}


def record(keeper: Keeper, into: Path, older: Path | None) -> Iterator[Book]:
    """Records the LiteLLM of `make demo-litellm`, and OLDER from the venv `older`, or one made for it and removed."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _install(VENV, PRISMA, "--target", str(folder / "prisma"))
        yield _one(keeper, into, VENV, folder / "prisma")
        venv = older or folder / "venv"
        if older is None:
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
            _install(venv, OLDER)
        yield _one(keeper, into, venv, folder / "prisma")


def _install(venv: Path, *words: str) -> None:
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([*pip, *words], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DemoError(f"{' '.join(words)} cannot be installed with {venv}; is there `make demo-litellm`?") from error


def _one(keeper: Keeper, into: Path, venv: Path, more: Path) -> Book:
    version = _version(venv)
    with _provider() as port:
        upset = [
            {
                "model_name": name,
                "litellm_params": {
                    "model": "openai/gpt-4-32k",
                    "api_key": PROVIDER_KEY,
                    "api_base": f"http://127.0.0.1:{port}/{name}",
                    "max_retries": 0,
                },
            }
            for name in PROVIDER_SAYS
        ]
        gone = {**upset[0], "model_name": "provider_gone"}
        gone["litellm_params"] = {**upset[0]["litellm_params"], "api_base": f"http://127.0.0.1:{free_port()}"}  # type: ignore[dict-item]  # a table of its own
        with LiteLlm(keeper=keeper, venv=venv, more=more, models=[*MODELS, *upset, gone]) as server:
            book = Book(into, "litellm", version, "LiteLLM of PyPI", (server.master_key, WRONG_KEY, PROVIDER_KEY))
            _situations(server, book)
            return book


def _situations(server: LiteLlm, book: Book) -> None:
    def checks(key: str = server.master_key, model: str = "demo-small") -> dict[str, Check]:
        variables = {"LITELLM_URL": server.url, "LITELLM_MASTER_KEY": key, "LITELLM_SYNTHETIC_MODEL": model}
        return {check.name: check for check in find(variables, "litellm").checks}

    def keep(situation: str, says: str, *asked: Check) -> None:
        book.write(situation, says, checks=ask(asked))

    every = checks()
    keep("healthy", "with its master key, without a database, models that answer by themselves", *every.values())
    wrong = checks(WRONG_KEY)
    with_key = [check for name, check in wrong.items() if name not in ("alive", "ready")]
    keep("wrong_key", "asked with a key that it does not know; it has no database to look one up in", *with_key)
    models = every["models"]
    assert isinstance(models.params, HttpParams)
    keep("no_key", "asked without any key", replace(models, params=replace(models.params, headers={})))
    path = HttpParams(url=server.url, paths=("/health",), json=True)
    keep(
        "health_path",
        "/health, the path some guides name, without a key",
        Check(name="health", kind="http", params=path),
    )
    for name, (status, _) in PROVIDER_SAYS.items():
        says = f"a completion of a model whose provider answers {status}"
        keep(name, says, checks(model=name)["completion"])
    keep(
        "provider_gone",
        "a completion of a model whose provider refuses connections",
        checks(model="provider_gone")["completion"],
    )
    keep("unknown_model", "a completion of a model that is not configured", checks(model="nobody-knows")["completion"])


def _version(venv: Path) -> str:
    code = "import importlib.metadata as m; print(m.version('litellm'))"
    try:
        found = subprocess.run([str(venv / "bin/python"), "-c", code], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DemoError(f"there is no LiteLLM in {venv}; run: make demo-litellm") from error
    return found.stdout.strip()


@contextmanager
def _provider() -> Iterator[int]:
    """A port that answers every completion as PROVIDER_SAYS, by the first part of the path."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, error = PROVIDER_SAYS[self.path.split("/")[1]]
            body = json.dumps({"error": {"type": "invalid_request_error", "param": None, **error}}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name for it
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
