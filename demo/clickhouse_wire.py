"""What ClickHouse's HTTP interface says on the wire: statuses, media types, credentials, forms, chunks.

Standard library only: the server's own Python has nothing of ours installed.
"""

import base64
import binascii
import email.message
import email.parser
import email.policy
import hmac
from collections.abc import Callable, Mapping

TEXT = "text/plain; charset=UTF-8"
HTML = "text/html; charset=UTF-8"  # so a real server labels the Ok. of / and /ping
NO_HANDLE = """\
There is no handle {path}
Use / or /ping for health checks.
Or /replicas_status for more sophisticated health checks.
Send queries from your program with POST method or GET /?query=...

"""
RESERVED = frozenset(
    (
        *("compress", "decompress", "user", "password", "quota_key", "query_id", "stacktrace", "role", "buffer_size"),
        *("wait_end_of_query", "session_id", "session_timeout", "session_check", "client_protocol_version"),
        *("close_session", "query", "database", "default_format", "readonly", ""),
    )
)
"""URL parameters that are not settings."""
SUMMARY = (
    *("read_rows", "read_bytes", "written_rows", "written_bytes", "total_rows_to_read", "result_rows"),
    *("result_bytes", "elapsed_ns", "memory_usage"),
)
"""The keys of X-ClickHouse-Summary."""

_STATUSES = {
    401: "REQUIRED_PASSWORD",
    403: "UNKNOWN_USER WRONG_PASSWORD AUTHENTICATION_FAILED SET_NON_GRANTED_ROLE ACCESS_DENIED",
    400: """BAD_ARGUMENTS CANNOT_COMPILE_REGEXP CANNOT_PARSE_TEXT CANNOT_PARSE_ESCAPE_SEQUENCE
        CANNOT_PARSE_QUOTED_STRING CANNOT_PARSE_DATE CANNOT_PARSE_DATETIME CANNOT_PARSE_NUMBER
        CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING CANNOT_PARSE_IPV4 CANNOT_PARSE_IPV6
        CANNOT_PARSE_INPUT_ASSERTION_FAILED CANNOT_PARSE_UUID DUPLICATE_COLUMN
        ILLEGAL_COLUMN UNKNOWN_ELEMENT_IN_AST UNKNOWN_TYPE_OF_AST_NODE THERE_IS_NO_COLUMN TOO_DEEP_AST TOO_BIG_AST
        UNEXPECTED_AST_STRUCTURE SYNTAX_ERROR INCORRECT_DATA TYPE_MISMATCH VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE""",
    404: """UNKNOWN_TABLE UNKNOWN_FUNCTION UNKNOWN_IDENTIFIER UNKNOWN_TYPE UNKNOWN_STORAGE UNKNOWN_DATABASE
        UNKNOWN_SETTING UNKNOWN_DIRECTION_OF_SORTING UNKNOWN_AGGREGATE_FUNCTION UNKNOWN_FORMAT
        UNKNOWN_DATABASE_ENGINE UNKNOWN_TYPE_OF_QUERY UNKNOWN_ROLE""",
    408: "TIMEOUT_EXCEEDED",
    411: "HTTP_LENGTH_REQUIRED",
    413: "QUERY_IS_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    501: "NOT_IMPLEMENTED",
    503: "SOCKET_TIMEOUT CANNOT_OPEN_FILE CANNOT_SCHEDULE_TASK",
}
STATUS = {name: status for status, names in _STATUSES.items() for name in names.split()}
"""HTTP status by the name of the error, as ClickHouse's exceptionCodeToHTTPStatus.cpp has it; all others are 500."""

_MEDIA = (
    (("TabSeparated", "TSV"), "text/tab-separated-values; charset=UTF-8"),
    (("CSV",), "text/csv; charset=UTF-8"),
    (("JSONEachRow", "JSONCompactEachRow", "JSONStringsEachRow", "JSONLines"), "application/x-ndjson; charset=UTF-8"),
    (("JSON",), "application/json; charset=UTF-8"),
    (("Native", "RowBinary", "Parquet", "ORC", "Arrow", "Avro", "MsgPack", "Protobuf"), "application/octet-stream"),
    (("XML",), "application/xml; charset=UTF-8"),
)


class ClickhouseError(Exception):
    """An error with ClickHouse's own code and name; `str()` is the text a server sends, without its version."""

    def __init__(self, code: int, name: str, text: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {text} ({name})")
        self.code = code
        self.name = name


def content_type(form: str | None) -> str:
    """The media type of an answer in a format; None is an answer without a result."""
    return next((media for starts, media in _MEDIA if form and form.startswith(starts)), TEXT)


def authenticate(headers: email.message.Message, parameters: Mapping[str, str], user: str, password: str) -> None:
    """Raises ClickhouseError 516 unless the request carries `user` and `password`, one way only."""
    by_header = (headers.get("X-ClickHouse-User", ""), headers.get("X-ClickHouse-Key", ""))
    basic = headers.get("Authorization")
    by_parameter = "user" in parameters or "password" in parameters
    if sum((any(by_header), basic is not None, by_parameter)) > 1:
        raise _refused("Invalid authentication: it is not allowed to use several ways of authentication simultaneously")
    if any(by_header):
        name, key = by_header
    elif basic is not None:
        name, key = _basic(basic)
    else:
        name, key = parameters.get("user", "default"), parameters.get("password", "")
    known = hmac.compare_digest(name.encode(), user.encode())
    if not (hmac.compare_digest(key.encode(), password.encode()) and known):
        raise _refused(f"{name}: Authentication failed: password is incorrect, or there is no user with such name.")


def _basic(header: str) -> tuple[str, str]:
    scheme, _, coded = header.partition(" ")
    if scheme.lower() != "basic":
        raise _refused(f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported")
    try:
        user, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise _refused("Invalid authentication: the Authorization header cannot be read") from error
    return user, password


def _refused(text: str) -> ClickhouseError:
    return ClickhouseError(516, "AUTHENTICATION_FAILED", text)


def form_fields(media: str, body: bytes) -> dict[str, str]:
    """The fields of multipart/form-data, where a client puts a query whose parameters are too long for the URL."""
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + media.encode() + b"\r\n\r\n" + body)
    assert isinstance(message, email.message.EmailMessage)
    fields = {}
    for part in message.iter_parts():
        if part.get_filename():
            raise ClickhouseError(48, "NOT_IMPLEMENTED", "External tables are not supported by this server")
        payload = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        fields[str(name)] = payload.decode() if isinstance(payload, bytes) else ""
    return fields


def error_in_body(text: str, tag: str) -> bytes:
    """An error that came after the status was sent, marked the way a server since 25.11 does."""
    text = text.rstrip() + "\n"
    return f"\r\n__exception__\r\n{tag}\r\n{text}{len(text.encode())} {tag}\r\n__exception__\r\n".encode()


def is_on(parameters: Mapping[str, str], name: str) -> bool:
    """Whether a parameter that is a switch is on."""
    return parameters.get(name, "0").lower() in {"1", "true"}


class Chunks:
    """A writable file that sends each write as a chunk; plain to a client of HTTP/1.0."""

    closed = False  # pyarrow asks

    def __init__(self, send: Callable[[bytes], object], *, chunked: bool) -> None:
        self._send = send
        self._chunked = chunked

    def write(self, data: bytes) -> int:
        """Sends `data`."""
        data = bytes(data)
        if data:
            self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return len(data)

    def end(self) -> None:
        """Sends the last chunk: what came before is whole."""
        if self._chunked:
            self._send(b"0\r\n\r\n")

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Nothing to close: the connection goes on."""
