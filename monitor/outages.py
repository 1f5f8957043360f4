"""What is known of every service + the dependency graph + now → incidents that open, change and resolve. Pure."""

from collections.abc import Mapping

from monitor.dependencies import Graph
from monitor.incidents import Blindness, Book, Said, Seen


def step(
    book: Book,
    graph: Graph,
    seen: Mapping[str, Seen],
    now: float,
    *,
    wall: float,
    round_over: bool,
    blind: Blindness | None = None,
) -> tuple[Book, tuple[Said, ...]]:
    """Brings `book` in line with what is `seen`, and gives it with what happened, oldest first.

    To be called after whatever changed `seen` and once a second; called twice with the same it says nothing new and
    gives the very same book. `now` is monotonic seconds and decides; `wall` is epoch seconds and is only recorded.
    `round_over`: everything was looked at once since the start; nothing is opened before.
    """
    raise NotImplementedError


def acknowledge(book: Book, root: str, *, by: str, wall: float) -> tuple[Book, Said | None]:
    """Notes that `by` knows of the incident of `root`: no more reminders. None when there is none that is open."""
    raise NotImplementedError
