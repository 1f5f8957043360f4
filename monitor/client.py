"""What the command line asks of the daemon on this machine, over its API: the state has one writer."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from config.settings import WebSettings

WAIT = 10.0  # seconds for one answer


class DaemonError(Exception):
    """The daemon did not do it. The text says why and what to do; `there` is False when none answers at all."""

    def __init__(self, text: str, *, there: bool = True) -> None:
        super().__init__(text)
        self.there = there


class Client:
    """The daemon at PORT of this machine, asked with API_TOKEN."""

    def __init__(self, settings: WebSettings, *, host: str = "127.0.0.1") -> None:
        self._place = f"{host}:{settings.port}"
        self._token = settings.api_token

    def services(self) -> list[dict[str, Any]]:
        """Every service as the daemon holds it now, as the API gives it. Raises DaemonError."""
        return self._listed("GET", "/api/v1/status", "services")

    def history(self, service: str) -> dict[str, Any]:
        """What the daemon remembers of one service, as the API gives it. Raises DaemonError."""
        return self._ask("GET", f"/api/v1/services/{quote(service, safe='')}/history")

    def incidents(self, *, every: bool) -> list[dict[str, Any]]:
        """The open incidents as the API gives them, or those that are over too. Raises DaemonError."""
        return self._listed("GET", f"/api/v1/incidents{'?all' if every else ''}", "incidents")

    def acknowledge(self, incident: str, by: str) -> None:
        """Says that `by` looks after an incident. Raises DaemonError."""
        self._ask("POST", f"/api/v1/incidents/{quote(incident, safe='')}/ack", {"by": by})

    def silences(self) -> list[dict[str, Any]]:
        """The silences there are, as the API gives them. Raises DaemonError."""
        return self._listed("GET", "/api/v1/silences", "silences")

    def silence(self, asked: Mapping[str, object]) -> dict[str, Any]:
        """Makes a silence and gives it. Raises DaemonError."""
        return self._ask("POST", "/api/v1/silences", asked)

    def end_silence(self, silence: str) -> None:
        """Ends the silence with this id. Raises DaemonError."""
        self._ask("DELETE", f"/api/v1/silences/{quote(silence, safe='')}")

    def _listed(self, method: str, path: str, key: str) -> list[dict[str, Any]]:
        found = self._ask(method, path).get(key)
        if not isinstance(found, list):
            raise self._stranger()
        return found

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token.reveal()}"} if self._token else {}
        try:
            with httpx.Client(trust_env=False, timeout=WAIT) as client:
                answer = client.request(method, f"http://{self._place}{path}", headers=headers, json=body)
        except httpx.TimeoutException:
            raise DaemonError(f"the daemon at {self._place} does not answer within {WAIT:.0f} s; see its log") from None
        except httpx.TransportError:
            says = (
                f"no daemon answers at {self._place}: start it (python -m monitor run), or set PORT to the one it has"
            )
            raise DaemonError(says, there=False) from None
        try:
            document = answer.json()
        except ValueError:
            raise self._stranger() from None
        if not isinstance(document, dict):
            raise self._stranger()
        if answer.status_code == 401:
            raise DaemonError("the daemon asks for its API_TOKEN: set the one it was started with")
        if not answer.is_success:
            raise DaemonError(str(document.get("error", f"the daemon answered {answer.status_code}")))
        return document

    def _stranger(self) -> DaemonError:
        says = f"what answers at {self._place} is not Watchkeeper, or one of another version; set PORT to the daemon's"
        return DaemonError(says)
