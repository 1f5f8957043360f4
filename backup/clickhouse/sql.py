"""SQL as text: names and strings as ClickHouse reads them."""


def name(*parts: str) -> str:
    """A quoted identifier, dots between its parts."""
    return ".".join("`" + part.replace("\\", "\\\\").replace("`", "\\`") + "`" for part in parts)


def text(value: str) -> str:
    """A quoted string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
