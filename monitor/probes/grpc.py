"""The grpc probe: grpc.health.v1.Health/Check, spoken over h2. The grpc package would take 16 MB for this one call."""

import contextlib
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from config.checks import GrpcParams
from config.secret import Secret
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, Sight, Verdict, header_secrets
from monitor.wire import Wire, dial

# Bytes from one server before the probe gives up; an answer is some two hundred.
MAX_BYTES = 131_072

# https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
_STATUS = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
# https://github.com/grpc/grpc/blob/master/src/proto/grpc/health/v1/health.proto
_SERVING = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_SAYS = {
    "UNIMPLEMENTED": "the server has no health service (grpc.health.v1.Health)",
    "NOT_FOUND": "the health service does not know that service",
}


@dataclass(slots=True)
class Reply:
    """What came back on the one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def probe(params: GrpcParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Asks for the health of GrpcParams.service once.

    Evidence.code is gRPC's status name (UNAVAILABLE, UNIMPLEMENTED, ...), the health state (NOT_SERVING, ...) or, when
    something else answered over HTTP/2, the HTTP status.
    """
    secrets = header_secrets(params.headers)
    return await attempt(partial(_ask, params, context, timeout), timeout=timeout, secrets=secrets)


async def _ask(params: GrpcParams, context: ProbeContext, timeout: float) -> Answer:
    tls = context.tls(alpn=("h2",)) if params.tls else None
    wire = await dial(params.host, params.port, timeout=timeout, family=params.family, tls=tls)
    try:
        reply = await _call(wire, params, timeout)
    finally:
        wire.close()
    return weigh(reply, params.service)


async def _call(wire: Wire, params: GrpcParams, timeout: float) -> Reply:
    config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
    talk = h2.connection.H2Connection(config)
    talk.initiate_connection()
    stream = talk.get_next_available_stream_id()
    try:
        talk.send_headers(stream, _headers(params, timeout))
    except h2.exceptions.ProtocolError:
        # Its text may quote the value, and that may be a key.
        raise ValueError("the check's headers hold something HTTP/2 does not allow") from None
    talk.send_data(stream, _request(params.service), end_stream=True)
    await wire.write(talk.data_to_send())
    reply = Reply()
    heard = 0
    while heard < MAX_BYTES:
        data = await wire.read(4_096)
        if not data:
            raise ConnectionResetError("the server ended the connection in mid-answer")
        if not heard:
            _check_start(data)
        heard += len(data)
        try:
            ended = any(_take(event, reply) for event in talk.receive_data(data))
        except (h2.exceptions.ProtocolError, UnicodeDecodeError) as error:
            raise Garbled(f"the answer is broken HTTP/2: {error}") from error
        if ended:
            talk.close_connection()
        with contextlib.suppress(ConnectionError):
            await wire.write(talk.data_to_send())
        if ended:
            return reply
    raise Garbled(f"the server sent more than {MAX_BYTES} bytes and no answer")


def _check_start(data: bytes) -> None:
    """An HTTP/2 server begins with a SETTINGS frame: type 4 after three bytes of length."""
    if data[:2] == b"\x15\x03":
        raise Garbled("the port speaks TLS and was asked in plain text", code="tls_port", sight=Sight.TLS)
    if data.startswith(b"HTTP/1"):
        raise Garbled("the port speaks HTTP/1.1, not gRPC", code="http1")
    if len(data) > 3 and (data[3] != 4 or data[0] != 0):
        raise Garbled(f"the answer is not gRPC; it begins with: {data[:60].decode('utf-8', 'replace')}")


def _headers(params: GrpcParams, timeout: float) -> list[tuple[str, str]]:
    own = [(k.lower(), v.reveal() if isinstance(v, Secret) else v) for k, v in params.headers.items()]
    host = f"[{params.host}]" if ":" in params.host else params.host
    return [
        (":method", "POST"),
        (":scheme", "https" if params.tls else "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", f"{host}:{params.port}"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "watchkeeper"),
        ("grpc-timeout", f"{max(1, int(timeout * 1000))}m"),
        *own,
    ]


def _request(service: str) -> bytes:
    """HealthCheckRequest{service = 1} in gRPC's frame: not compressed, four bytes of length."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _take(event: h2.events.Event, reply: Reply) -> bool:
    """Puts what an event brings into `reply`; True when the answer is complete. Raises ConnectionResetError."""
    match event:
        case h2.events.ResponseReceived() | h2.events.TrailersReceived():
            for name, value in event.headers or []:
                reply.headers[str(name)] = str(value)
        case h2.events.DataReceived():
            # Never acknowledged, so flow control keeps a server from sending more than 64 KiB of it.
            reply.body += event.data or b""
        case h2.events.StreamEnded():
            return True
        case h2.events.StreamReset() | h2.events.ConnectionTerminated():
            if "grpc-status" not in reply.headers:
                raise Garbled(f"the server gave the call up: {_error_name(event.error_code)}", sight=Sight.RESET)
            return True
    return False


def _error_name(code: int | None) -> str:
    try:
        return h2.errors.ErrorCodes(code or 0).name
    except ValueError:
        return str(code)


def weigh(reply: Reply, service: str) -> Answer:
    """Gives what a complete answer means. Pure."""
    kind = reply.headers.get("content-type", "")
    http = reply.headers.get(":status", "")
    number = reply.headers.get("grpc-status", "")
    if not kind.startswith("application/grpc") and not number:
        text = f"HTTP/2 {http} without gRPC ({kind or 'no content type'})"
        return Answer(verdict=Verdict.FAIL, sight=Sight.GARBLED, text=text, code=http)
    status = (
        _STATUS[int(number)] if number.isdecimal() and int(number) < len(_STATUS) else f"status {number or 'missing'}"
    )
    if status != "OK":
        message = unquote(reply.headers.get("grpc-message", ""))
        says = ": ".join(part for part in (_SAYS.get(status, ""), message) if part)
        text = f"gRPC {status}" + (f", {says}" if says else "")
        return Answer(verdict=Verdict.FAIL, text=text, code=status)
    state = _state(reply.body)
    text = f"{service or 'the server'} is {state}"
    return Answer(verdict=Verdict.PASS if state == "SERVING" else Verdict.FAIL, text=text, code=state)


def _state(body: bytes) -> str:
    """HealthCheckResponse{status = 1}: an empty message means its zero, UNKNOWN."""
    message = body[5:]
    if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(message):
        return "unreadable"
    if not message:
        return _SERVING[0]
    if len(message) == 2 and message[0] == 0x08 and message[1] < len(_SERVING):
        return _SERVING[message[1]]
    return "unreadable"
