"""A value that must not be shown."""


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
