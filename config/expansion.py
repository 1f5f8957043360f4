"""`${name}` in a table → what it stands for."""

import re
from collections.abc import Callable

from config.secret import Secret

PLACEHOLDER = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

LookUp = Callable[[str], object]


def expand(value: object, look_up: LookUp) -> object:
    """`value` with every placeholder in its texts filled; `$${` stands for a plain `${`.

    A text that is one placeholder becomes what `look_up` gives, whatever its type. Within a longer text the parts are
    joined, into a Secret if one of them is. A part that is None makes the whole None, and its entry is left out.
    """
    if isinstance(value, dict):
        filled = {key: expand(item, look_up) for key, item in value.items()}
        return {key: item for key, item in filled.items() if item is not None}
    if isinstance(value, list | tuple):
        return [item for item in (expand(item, look_up) for item in value) if item is not None]
    if isinstance(value, str):
        return _expand_text(value, look_up)
    return value


def _expand_text(text: str, look_up: LookUp) -> object:
    whole = PLACEHOLDER.fullmatch(text)
    if whole and whole.group(1):
        return look_up(whole.group(1))
    secret = False
    parts: list[str] = []
    end = 0
    for match in PLACEHOLDER.finditer(text):
        part = look_up(match.group(1)) if match.group(1) else "${"
        if part is None:
            return None
        secret = secret or isinstance(part, Secret)
        parts += [text[end : match.start()], part.reveal() if isinstance(part, Secret) else str(part)]
        end = match.end()
    joined = "".join([*parts, text[end:]])
    return Secret(joined) if secret else joined
