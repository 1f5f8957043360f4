"""What the calendar runs, each a short function: roll up, prune, give space back."""

from collections.abc import Callable

from monitor.logbook import prune_incidents, prune_silences
from monitor.rollup import prune, roll_up
from monitor.schedule import Calendar
from monitor.state import StateFile


class Jobs:
    """The daemon's calendar jobs over its state."""

    def __init__(self, state: StateFile, *, wall: Callable[[], float]) -> None:
        self._state = state
        self._wall = wall

    def enter(self, calendar: Calendar) -> None:
        """Enters every job with its time of the hour or day, in UTC."""
        calendar.daily("roll_up", self.roll_up, minute=2)
        calendar.daily("prune", self.prune, minute=17)

    async def roll_up(self) -> None:
        """Rolls up the hours and days that are over, a few at a time so that the writer stays free."""
        while await self._state.transact(lambda conn: roll_up(conn, self._wall())):
            pass

    async def prune(self) -> None:
        """Deletes what is past its retention, in bounded steps, and gives the space back."""
        while await self._state.transact(lambda conn: prune(conn, self._wall())):
            pass
        await self._state.transact(lambda conn: prune_incidents(conn, self._wall()))
        await self._state.transact(lambda conn: prune_silences(conn, self._wall()))
        await self._state.tidy()
