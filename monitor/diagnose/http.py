"""What an HTTP answer proves. Evidence.code is the status."""

from dataclasses import replace

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.probes.base import Sight

_STATUS_5XX = tuple(str(status) for status in range(500, 600))
_REDIRECTS = ("300", "301", "302", "303", "307", "308")
_PLAIN_ON_TLS = r"plain HTTP request was sent to HTTPS|HTTP request to an HTTPS server|speaking plain HTTP to an SSL"

_MICROSERVICES = ("api-gateway", "chat", "inference", "agent", "retrieval")
_FASTAPI = ("litellm", "r2r", "open-webui", "saas-api", *_MICROSERVICES)

# How services of this stack make themselves known where another one should be, in the words of an http probe; and the
# presets whose services may well answer like that. Many a service of somebody's own says the plainest of it.
_FINGERPRINTS = (
    ("Qdrant", ("qdrant",), r'"title": ?"qdrant - vector search engine'),
    ("ClickHouse", ("clickhouse",), r"it says: Ok\.$"),
    ("LiteLLM", ("litellm",), r"it says: \"I'm alive!"),
    ("R2R", ("r2r",), r'"results": ?\{"message": ?"ok"'),
    ("Langfuse", ("langfuse-web",), r'"status": ?"OK", ?"version"|HTML page titled “Langfuse'),
    ("Langfuse's worker", ("langfuse-worker", "custom"), r'it says: \{"status": ?"ok"\}'),
    ("Open WebUI", ("open-webui",), r"HTML page titled “Open WebUI"),
    ("Open WebUI's health", ("open-webui", "custom"), r'it says: \{"status": ?true\}'),
    ("the SaaS API", ("saas-api",), r'"service": ?"saas-llm-api"'),
    ("one of Open WebUI's own services", (*_MICROSERVICES, "custom"), r'it says: \{"status": ?"healthy"\}'),
    ("Watchkeeper itself", (), r'it says: \{"status": ?"ok", ?"why"'),
    ("MinIO's console", (), r"HTML page titled “MinIO Console"),
    ("an S3 store", ("minio",), r"<Error>\s*<Code>|<ListAllMyBucketsResult"),
)
# The same where they refuse a path they do not know, or to be asked without a key.
_REFUSALS = (
    ("Langfuse's web container", ("langfuse-web",), "404", r"HTML page titled “Langfuse"),
    ("an S3 store", ("minio",), "403", r"<Error>\s*<Code>"),
    ("LiteLLM", ("litellm",), "401", r"Authentication Error, No api key passed in"),
    ("ClickHouse", ("clickhouse",), "404", r"There is no handle /"),
    ("an Express application, as Langfuse's worker is one", ("langfuse-worker",), "404", r"Cannot GET /"),
    ("a FastAPI application, as LiteLLM and R2R are", _FASTAPI, "404", r'it says: \{"detail": ?"Not Found"\}'),
)


def _stranger(name: str, kinds: tuple[str, ...], fingerprint: str) -> Rule:
    return Rule(
        cause=Cause.WRONG_SERVICE,
        signs=("json", "expect_json", "expect_text", "expect_header"),
        not_for=kinds,
        text=fingerprint,
        proof=f"the answer is one that {name} gives",
        says=f"What answers at {{address}} is {name}, and not {{title}}.",
        remedy=GENERAL[Cause.WRONG_SERVICE].remedy,
    )


def _refusal(name: str, kinds: tuple[str, ...], status: str, fingerprint: str) -> Rule:
    # A check of somebody's own may well ask such a service.
    return replace(
        _stranger(name, (*kinds, "custom"), fingerprint),
        signs=("status",),
        codes=(status,),
        proof=f"{status} in the words of {name}",
    )


HTTP: tuple[Rule, ...] = (
    *(_stranger(*one) for one in _FINGERPRINTS),
    *(_refusal(*one) for one in _REFUSALS),
    Rule(
        cause=Cause.PLAIN_ON_TLS,
        codes=("400", "426", "497"),
        text=_PLAIN_ON_TLS,
        proof="400 that says plain HTTP came to a TLS port",
        says="{title} at {address} speaks TLS on that port and was asked in plain HTTP.",
        remedy="Write https:// in {setting}, or name the port that speaks plain HTTP: on a private network that is "
        "the one to use.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        codes=("502", "503", "504"),
        text="application failed to respond",
        proof="Railway's edge says “Application failed to respond”",
        says="Railway's edge at {address} gets no answer from {title}.",
        remedy="The service is down, still starting, or listens elsewhere: it must listen on 0.0.0.0 or :: at the "
        "PORT it is given. See its deployment and log. Watch its private address "
        "(http://<service>.railway.internal:port) to see it without the edge between.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        precise=True,
        codes=("404",),
        text="application not found",
        proof="Railway's edge says “Application not found”",
        says="Railway's edge has nothing deployed for {title} at {address}.",
        remedy="Compare the domain in {setting} with the service's public domain: it was removed, renamed, or nothing "
        "is deployed. A sleeping service (Serverless) says this for some seconds while it wakes.",
    ),
    Rule(
        cause=Cause.AUTH,
        codes=("401", "403", "407"),
        proof="401 or 403",
        says="{title} at {address} refuses us: no key was sent, or the wrong one ({code}).",
        remedy="Compare the key in {setting} with the service's own, and with what its other clients hold: "
        "LITELLM_MASTER_KEY must equal Open WebUI's OPENAI_API_KEY, QDRANT__SERVICE__API_KEY every Qdrant client's "
        "key. If no key was sent, set one, or ask a path that needs none.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        codes=("404", "405", "410"),
        proof="404: no such path",
        says="{title} at {address} has no such path ({code}).",
        remedy="Another version of the service, or another service on that port: compare the port in {setting} with "
        "the service's own, then the path with what its version offers.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=("429", "507", "509"),
        proof="429 too many requests, or 507 out of storage",
        says="{title} at {address} is at its limit ({code}).",
        remedy="429: something asks too often, or a quota or budget is used up; see who, and the limits it is "
        "configured with. 507: free or enlarge its disk.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        codes=("502", "504"),
        proof="502 or 504: a proxy got no good answer from the service behind it",
        says="A proxy in front of {title} at {address} gets no answer from it ({code}).",
        remedy="The proxy is well and the service behind it is not: see whether it runs and listens where the proxy "
        "expects it, and whether it is overloaded (504). Watch its private address to leave the proxy out.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        codes=("503",),
        proof="503: the service, or a proxy before it, says that it cannot serve now",
        says="{title} at {address} says it cannot serve now (503).",
        remedy="Read the evidence: what it lacks is often said there. If it was just deployed, wait for it. Then look "
        "at what it depends on, at its log, and at its memory.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        codes=_STATUS_5XX,
        proof="another 5xx",
        says="{title} at {address} answers with an internal error ({code}).",
        remedy=GENERAL[Cause.SERVER_ERROR].remedy,
    ),
    Rule(
        cause=Cause.BAD_STATUS,
        precise=True,
        signs=("redirect",),
        text="redirects in a circle",
        proof="a redirect to an address that was asked already",
        says="{title} at {address} redirects in a circle ({code}) instead of answering.",
        remedy="The address is right, and it, or the proxy before it, sends everybody back to where they came from. "
        "See its rule for https and for names (a proxy that ends TLS must say x-forwarded-proto: https, and asks it "
        "over plain http), and its own public address. If it wants a cookie kept first, watch a path that needs none.",
    ),
    Rule(
        cause=Cause.BAD_STATUS,
        signs=("redirect",),
        proof="a redirect that leads elsewhere, or too far",
        says="{title} at {address} redirects instead of answering ({code}).",
        remedy="Put the address it points to in {setting} (https:// or a slash at the end is the usual difference). A "
        "redirect to a login page means that the path needs a key.",
    ),
    Rule(
        cause=Cause.BAD_STATUS,
        codes=_REDIRECTS,
        proof="a redirect where an answer was expected",
        says="{title} at {address} redirects instead of answering ({code}).",
        remedy="Put the address it points to in {setting}, or follow_redirects = true in WATCH_FILE. A redirect to a "
        "login page means that the path needs a key.",
    ),
    replace(GENERAL[Cause.BAD_STATUS], signs=("status",), proof="any other status that was not expected"),
    Rule(
        cause=Cause.WRONG_SERVICE,
        sights=(Sight.GARBLED,),
        signs=("json",),
        proof="an HTML page where JSON is expected",
        says="{address} answers with a web page where {title} would answer with JSON.",
        remedy="Another service has that port, or this version of it does not have the path and shows its web page "
        "instead. Compare host and port in {setting} with the service's own (LiteLLM 4000, Langfuse 3000, Open WebUI "
        "8080, R2R 7272, Qdrant 6333), then the path with what its version offers.",
    ),
    Rule(
        cause=Cause.WRONG_SERVICE,
        sights=(Sight.GARBLED,),
        proof="the answer is no HTTP",
        says="Something answers at {address}, but it does not speak HTTP as {title} would.",
        remedy="A TLS or gRPC port, or another service: compare scheme and port in {setting} with the service's own "
        "(Qdrant: 6333 is HTTP, 6334 gRPC; ClickHouse: 8123 is HTTP, 9000 is not).",
    ),
    Rule(
        cause=Cause.BAD_ANSWER,
        signs=("json",),
        text=r"is larger than \d+ bytes",
        proof="the answer is larger than the check reads",
        says="{title} at {address} answers with far more than a health answer holds.",
        remedy="See what it sends: another path or another service, mostly. If it is right, raise max_body in "
        "WATCH_FILE.",
    ),
    Rule(
        cause=Cause.BAD_ANSWER,
        signs=("json",),
        text="the answer is empty",
        proof="the answer is empty",
        says="{title} at {address} answers {code} with nothing in it.",
        remedy="The service or a proxy before it broke down while answering: read its log, and ask its private "
        "address.",
    ),
    Rule(
        cause=Cause.BAD_ANSWER,
        signs=("json",),
        proof="the body is no JSON",
        says="{title} at {address} answers, but not with JSON.",
        remedy="Read the evidence. If it is cut off, the service or a proxy broke down while answering; if it is "
        "text, compare the path and port in {setting} with what this version offers.",
    ),
    Rule(
        cause=Cause.WRONG_SERVICE,
        signs=("expect_words",),
        proof="the page lacks the words it is known by",
        says="{title} at {address} answers with another page than its own.",
        remedy="Another service or another build is served there: compare host and port in {setting}, and the words "
        "that are looked for with the page as it is now.",
    ),
    Rule(
        cause=Cause.BAD_ANSWER,
        signs=("expect_json", "expect_text", "expect_header"),
        proof="the answer lacks what the check expects",
        says="{title} at {address} answers {code}, but not what a healthy one says.",
        remedy=GENERAL[Cause.BAD_ANSWER].remedy,
    ),
)

# In place of a refusal, where a preset asks what the service it knows answers to anybody.
UNASKED = Rule(
    cause=Cause.AUTH,
    precise=True,
    codes=("401", "403", "407"),
    proof="401 or 403 to a question that a preset asks without a key, because it needs none",
    says="What answers at {address} wants a key for what {title} answers to anybody ({code}).",
    remedy="Another service, mostly, or a proxy with a login of its own before it: compare host and port in {where} "
    "with the service's own, or watch its private address.",
)
