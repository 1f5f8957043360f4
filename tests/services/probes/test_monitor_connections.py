"""The five common troubles between services, brought about on loopback, and docs/guides/connections.md about them."""

import re
import ssl
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from config.causes import Cause
from config.checks import HttpParams
from config.services import Check, Service, discover
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.table import diagnose
from monitor.net import Resolver
from monitor.probes.base import Outcome
from monitor.surveyor import Surveyor

Maker = Callable[..., Any]
GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "connections.md").read_text(encoding="utf-8")
KNOWN = {"shop.internal": ("127.0.0.1", "::1"), "old.internal": ("::1",), "other.internal": ("127.0.0.1",)}

# Trouble of the guide, how it comes about, the cause, words of the remedy.
TROUBLES: list[tuple[str, str, Cause, str]] = [
    ("connection refused", "nothing_runs", Cause.REFUSED, "See whether the service runs"),
    ("connection refused", "usual_port", Cause.WRONG_PORT, "Put port"),
    ("connection refused", "one_kind", Cause.IPV6_ONLY, "listen on both"),
    ("connection refused", "other_kind", Cause.IPV4_ONLY, "Make it listen on ::"),
    ("authentication failed", "key_refused", Cause.AUTH, "Compare the key"),
    ("timed out", "never_opens", Cause.TIMEOUT, "same network, project and environment"),
    ("timed out", "never_answers", Cause.NO_ANSWER, "stuck or overloaded"),
    ("timed out", "gateway_timeout", Cause.SERVER_ERROR, "the service behind it is not"),
    ("could not resolve the name", "typo", Cause.DNS, "it is the name"),
    ("could not resolve the name", "no_name_at_all", Cause.NO_NAMES, "not this service's"),
    ("could not resolve the name", "name_of_one_kind", Cause.IPV6_ONLY, "?family=0"),
    ("wrong port", "other_service", Cause.WRONG_SERVICE, "Compare host and port"),
    ("wrong port", "tls_there", Cause.PLAIN_ON_TLS, "Write https://"),
    ("wrong port", "no_such_path", Cause.NOT_FOUND, "compare the port"),
    ("wrong port", "empty_reply", Cause.RESET, "read its log"),
]


async def _cut(reader: Any, _: Any) -> None:
    await reader.read(1)


class Troubles:
    """Brings each about: gives the URL to ask, and the family."""

    def __init__(self, scene: Any, say: Maker, page: Maker, silent: Any, deaf: Maker, shut: Maker) -> None:
        self._scene, self._say, self._page, self._silent = scene, say, page, silent
        self._deaf, self._shut = deaf, shut
        self.usual = 0

    async def _alone(self, host: str) -> Any:
        """A server on one kind of address; the other one refuses."""
        return await self._scene.serve(self._silent, host=host, port=self._shut(but=host))

    async def url(self, trouble: str) -> tuple[str, Any]:  # noqa: PLR0911 -- one return a trouble
        page, say = self._page, self._say
        answers = {
            "key_refused": say(page(b'{"error":"no"}', status=401)),
            "gateway_timeout": say(page(b"upstream timed out", status=504, kind="text/plain")),
            "other_service": say(page(b'{"title":"qdrant - vector search engine","version":"1"}')),
            "no_such_path": say(page(b"Not Found", status=404, kind="text/plain")),
            "empty_reply": _cut,
            "never_answers": self._silent,
            "usual_port": self._silent,
        }
        match trouble:
            case "nothing_runs":
                return f"http://shop.internal:{self._shut()}", "any"
            case "usual_port":
                self.usual = (await self._scene.serve(answers[trouble])).port
                return f"http://shop.internal:{self._shut()}", "any"
            case "one_kind" | "other_kind":
                host, family = ("::1", "ipv4") if trouble == "one_kind" else ("127.0.0.1", "ipv6")
                return f"http://shop.internal:{(await self._alone(host)).port}", family
            case "never_opens":
                return f"http://127.0.0.1:{self._deaf()}", "any"
            case "typo" | "no_name_at_all":
                return f"http://shpo.internal:{self._shut()}", "any"
            case "name_of_one_kind":
                return f"http://old.internal:{(await self._alone('::1')).port}", "ipv4"
            case "tls_there":
                tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
                return f"http://127.0.0.1:{(await self._scene.serve(say(), tls=tls)).port}", "any"
        return f"http://127.0.0.1:{(await self._scene.serve(answers[trouble])).port}", "any"


def shop(url: str, family: Any = "any", name: str = "shop") -> Service:
    check = Check(name="answers", kind="http", params=HttpParams(url=url, family=family, expect_json="status == 'ok'"))
    return Service(name=name, kind="custom", title="The Shop", address=url, checks=(check,), variables=("SHOP_URL",))


@pytest.mark.parametrize(("seen", "trouble", "cause", "remedy"), TROUBLES)
def test_a_trouble_is_told_by_its_cause(
    run: Any,
    names: Maker,
    say: Maker,
    page: Maker,
    silent: Any,
    deaf: Maker,
    shut: Maker,
    seen: str,
    trouble: str,
    cause: Cause,
    remedy: str,
) -> None:
    async def act(scene: Any) -> Diagnosis | None:
        troubles = Troubles(scene, say, page, silent, deaf, shut)
        one = shop(*await troubles.url(trouble))
        siblings = () if trouble == "never_opens" else (shop("http://other.internal:1", name="other"),)
        surveyor = Surveyor((one, *siblings), scene.context, deadline=0.2, usual_port=lambda _: troubles.usual)
        outcome: Outcome = await scene.ask("http", one.checks[0].params, timeout=0.3)
        return diagnose(one, one.checks[0], await surveyor.survey(one, one.checks[0], outcome))

    known = {} if trouble == "no_name_at_all" else KNOWN
    found = run(act, resolver=Resolver(names(**known)))
    assert found is not None
    assert found.cause == cause
    assert "The Shop" in found.sentence
    assert remedy in found.remedy
    assert f"`{cause.value}`" in section(seen)


def section(seen: str) -> str:
    """The rows of the guide's table about one trouble."""
    return re.split(r"\n\| \*\*|\n\n", GUIDE.partition(f"**{seen}**")[2])[0]


def test_the_guide_names_causes_that_there_are_and_each_trouble_is_played() -> None:
    table = GUIDE.partition("|---|")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_0-9]+)`", table))
    assert named <= {cause.value for cause in Cause}
    # The rest are played in test_monitor_surveyor.py, and in test_monitor_probes_dns.py.
    assert named - {cause.value for _, _, cause, _ in TROUBLES} == {"not_restarted", "tls_on_plain", "no_resolver"}
    assert set(re.findall(r"\| \*\*([a-z ]+)\*\*", GUIDE)) == {seen for seen, *_ in TROUBLES}


def test_what_the_guide_writes_into_watch_file_is_taken(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)
    assert tomllib.loads(block)
    file = tmp_path / "watch.toml"
    file.write_text(block)
    found = discover({"LITELLM_URL": "http://litellm.railway.internal:4000"}, watch_file=file)
    assert found.problems == ()
    (litellm,) = found.services
    assert any(getattr(check.params, "family", "") == "ipv6" for check in litellm.checks)
