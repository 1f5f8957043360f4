"""A value that must not be shown, and which texts give it away."""

import re

SHORTEST = 4

# A password that is one of these hides nothing, and masking it would make every line unreadable.
PLAIN_WORDS = re.compile(
    "postgres|postgresql|redis|valkey|clickhouse|minio|litellm|langfuse|qdrant|chat|agent|default|backups|"
    "info|error|warning|level|event|true|false|none|null",
    re.IGNORECASE,
)


class Secret:
    """Text whose repr and str are masked; `reveal()` is the only way to the text.

    Equality compares the text, so frozen values that hold one still compare.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Gives the text back. Call it where the text is sent, nowhere earlier."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


def telling(secret: Secret) -> tuple[str, ...]:
    """The texts to mask wherever they occur: the secret's own, and x of "Bearer x", which is what a server quotes.

    A text of fewer than SHORTEST characters and one of PLAIN_WORDS are left out: they stand in other words as well.
    """
    text = secret.reveal()
    forms = dict.fromkeys((text, text.rpartition(" ")[2]))
    return tuple(form for form in forms if len(form) >= SHORTEST and not PLAIN_WORDS.fullmatch(form))
