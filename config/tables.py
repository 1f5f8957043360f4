"""A table from a TOML file → a frozen dataclass, checked against the dataclass's own fields.

Presets and WATCH_FILE are both read this way, so there is one description of what may be written: the types themselves.
Values that came from a variable are Secrets until a field says that it shows what it holds.
"""

import difflib
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from config.env import plain
from config.fields import AtMost, Limits
from config.secret import Secret
from config.syntax import RULES, MisfitError

Place = tuple[str, ...]
Report = Callable[[Place, str, str], None]
T = TypeVar("T")

# Names of headers and metadata whose values are nobody's business.
SECRET_HEADER = re.compile(r"auth|key|token|secret|password|cookie", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Slot:
    """One field of a dataclass: what fits, and whether it must be given."""

    hint: Any
    required: bool


_SLOTS: dict[type, Mapping[str, Slot]] = {}


def slots_of(cls: type[Any]) -> Mapping[str, Slot]:
    """The fields of dataclass `cls` by name. Kept, since resolving type hints is slow."""
    if cls not in _SLOTS:
        hints = get_type_hints(cls, include_extras=True)
        _SLOTS[cls] = {slot.name: Slot(hints[slot.name], _required(slot)) for slot in fields(cls)}
    return _SLOTS[cls]


def _required(slot: "Field[Any]") -> bool:
    return slot.default is MISSING and slot.default_factory is MISSING


def build(
    cls: type[T], table: Mapping[str, object], place: Place, report: Report, *, leniently: bool = False
) -> T | None:
    """A `cls` from `table`, or None after reporting every key that is unknown, missing or does not fit.

    A value of None counts as not given. `leniently`: what does not fit is left out once it was reported, so that the
    rest can be looked into; None only when that is something that must be given.
    """
    known = slots_of(cls)
    values: dict[str, Any] = {}
    sound = True
    for key, value in table.items():
        if key not in known:
            report((*place, key), "is not a known key", suggest(key, known))
            sound = False
        elif value is not None:
            try:
                values[key] = convert(known[key].hint, value)
            except MisfitError as misfit:
                report((*place, key), misfit.message, misfit.remedy)
                sound = False
    for key, slot in known.items():
        if slot.required and table.get(key) is None:
            report(place, f"lacks {key}", f"add {key} = …")
            sound = False
    if not sound and not (leniently and all(key in values for key, slot in known.items() if slot.required)):
        return None
    try:
        return cls(**values)
    except ValueError as error:  # a type's own rule, such as Sign's
        report(place, str(error), "see docs/reference/settings.md")
        return None


def suggest(key: str, known: Iterable[str]) -> str:
    """What to do about a word that is not known: the nearest known one, else all of them."""
    words = sorted(set(known))
    near = difflib.get_close_matches(key, words, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(words)}"


def convert(hint: Any, value: object) -> Any:  # noqa: PLR0911 -- one return for each shape a field can have
    """`value` as `hint` wants it. Raises MisfitError."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _restricted(convert(arguments[0], value), arguments[1])
    if origin in (Union, types.UnionType):
        return _union(arguments, value)
    if origin is Literal:
        return _word(arguments, value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise MisfitError(f"is {_kind(value)}, not a list", "write it in [ ]")
        return tuple(_entry(arguments[0], value, number) for number in range(len(value)))
    if origin is not None:  # Mapping[key, value]
        return _mapping(arguments, value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(_word(tuple(member.value for member in hint), value))
    if isinstance(hint, type) and is_dataclass(hint):
        return _nested(hint, value)
    return _scalar(hint, value)


def _entry(hint: Any, entries: Sequence[object], number: int) -> Any:
    """One entry of a list; of several, what does not fit is told by its number, since it may be a secret."""
    try:
        return convert(hint, entries[number])
    except MisfitError as error:
        which = f"entry {number + 1} " if len(entries) > 1 else ""
        raise MisfitError(f"{which}{error.message}", error.remedy) from None


def _scalar(hint: Any, value: object) -> Any:
    if hint is object:  # looked into later, and a Secret until then
        return value
    if hint is Secret:
        text = value.reveal() if isinstance(value, Secret) else value
        if not isinstance(text, str):
            raise MisfitError(f"is {_kind(value)}, not text", 'write it in " "')
        return Secret(text)
    plain = value.reveal() if isinstance(value, Secret) else value
    if isinstance(plain, str) and isinstance(value, Secret) and hint in (int, float):
        try:
            plain = hint(plain)
        except ValueError:
            raise MisfitError("comes from a variable that holds no number", "set the variable to a number") from None
    if hint is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    if isinstance(plain, hint) and not (hint is int and isinstance(plain, bool)):
        return plain
    wanted = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}[hint]
    raise MisfitError(f"is {_kind(plain)}, not {wanted}", f"write {wanted}" + (' in " "' if hint is str else ""))


def _union(arguments: tuple[Any, ...], value: object) -> Any:
    choices = [argument for argument in arguments if argument is not type(None)]
    if str in choices and Secret in choices:  # a header: secret if it came from a variable, else decided by its name
        if not isinstance(value, str | Secret):
            raise MisfitError(f"is {_kind(value)}, not text", 'write it in " "')
        return value
    return convert(choices[0], value)


def _word(words: tuple[Any, ...], value: object) -> Any:
    plain = value.reveal() if isinstance(value, Secret) else value
    if plain not in words:
        near = suggest(plain, words) if isinstance(plain, str) else f"known here: {', '.join(words)}"
        raise MisfitError("is not one of the words it may hold", near)
    return plain


def _mapping(arguments: tuple[Any, ...], value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise MisfitError(f"is {_kind(value)}, not a table", "write it as { name = … }")
    found = {convert(arguments[0], key): convert(arguments[1], item) for key, item in value.items()}
    if get_args(arguments[1]) == (str, Secret):
        for key, item in found.items():
            if isinstance(item, str) and SECRET_HEADER.search(key):
                found[key] = Secret(item)
    return found


def _nested(hint: type[Any], value: object) -> Any:
    if not isinstance(value, Mapping):
        raise MisfitError(f"is {_kind(value)}, not a table", "write it as { name = … }")
    wrong: list[str] = []

    def report(place: Place, message: str, remedy: str) -> None:
        wrong.append(f"{'.'.join(place)} {message}; {remedy}".strip())

    made = build(hint, value, (), report)
    if made is None:
        raise MisfitError("does not fit", wrong[0])
    return made


def _restricted(value: Any, rule: object) -> Any:
    """`value` back, if the rule of its Annotated field allows it."""
    if isinstance(rule, Limits):
        if not rule.least <= value <= rule.most:
            raise MisfitError("is out of range", f"write a number from {plain(rule.least)} to {plain(rule.most)}")
        return value
    if isinstance(rule, AtMost) and len(value) > rule.entries:
        raise MisfitError(f"has {len(value)} entries", f"name at most {rule.entries}: each is asked for every minute")
    if isinstance(rule, str):
        RULES[rule](value)
    return value


def _kind(value: object) -> str:
    """What TOML calls the kind of `value`."""
    if isinstance(value, bool):
        return "true or false"
    names = {str: "text", Secret: "text", int: "a whole number", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")
