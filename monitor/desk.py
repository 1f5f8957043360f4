"""The desk: outcomes come in from the watch, alerts go out to the outbox, and the incidents in between are kept here.

It sits between the watch and the recorder. Every decision is one synchronous turn on the event loop: what is known →
`outages.step` → `routing.route`; the rows that follow from it are handed to the recorder, which writes them in the very
transaction that keeps the flips. Nothing here waits, and nothing is sent from here.
"""

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from alerts import outbox
from alerts.alert import Alert, Severity
from alerts.channels.base import Channel
from alerts.trouble import Trouble
from config.alert_settings import AlertSettings
from config.causes import Cause
from config.logs import masked
from config.watched import Check, Service
from monitor import logbook
from monitor.board import Board
from monitor.dependencies import Graph
from monitor.diagnose.base import Diagnosis
from monitor.incidents import BLIND, Blindness, Book, Happening, Incident
from monitor.judge import Flip, State, Track
from monitor.known import Known
from monitor.letters import severity_of, write_notice
from monitor.outages import acknowledge, step
from monitor.probes.base import Outcome
from monitor.recorder import Recorder
from monitor.routing import Put, Ways, amnesia, route
from monitor.silences import Silence
from monitor.state import StateFile

log = structlog.get_logger()

RESOLVES_APART = 2.0  # seconds between resolves of what a provider may remember of us
TURN = 1.0  # seconds between two turns that nothing else brought about


class Desk:
    """The watch's Keeper, in front of `recorder`; and what the web shows and changes of incidents and silences.

    `book` is what was kept from before, None when nothing ever was: the state is new, or was lost. `forgotten` are the
    services that were not yet dealt with after that when the last daemon ended. `blind` tells whether we can look at
    all; `wall` gives epoch seconds. `turns` counts the decisions. To be made on the loop that the watch runs on.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        state: StateFile,
        recorder: Recorder,
        board: Board,
        channels: Sequence[Channel],
        settings: AlertSettings,
        tracks: Mapping[str, Track],
        book: Book | None,
        forgotten: Collection[str] = (),
        silences: Iterable[Silence],
        wall: Callable[[], float],
        blind: Callable[[Iterable[str]], Blindness | None] = lambda _: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._graph = Graph.of(services)
        self._known = Known(services, tracks, now=self._loop.time())
        self._state = state
        self._recorder = recorder
        self._board = board
        self._channels = tuple(channels)
        self._settings = settings
        self._wall = wall
        self._blind = blind
        self._book = book or Book()
        # Services that a provider may still hold an incident of, from before our state was lost.
        everything = {BLIND, *self._graph.services}
        self._forgotten = everything if book is None else everything & set(forgotten)
        self._remember_at = 0.0
        self._silences = {silence.id: silence for silence in silences}
        self._kept: Book | None = book
        self.turns = 0

    def saw(self, service: Service, check: Check, at: float, outcome: Outcome, diagnosis: Diagnosis | None) -> None:
        """Take in one outcome, at `at` (epoch seconds)."""
        self._recorder.saw(service, check, at, outcome, diagnosis)
        self._known.saw(service, check, outcome, self._loop.time())

    def moved(self, track: Track, service: Service, flip: Flip | None) -> None:
        """Take in what the judge made of it. A flip is followed up at once, so that it is kept with what follows."""
        self._recorder.moved(track, service, flip)
        self._known.moved(track, service, self._loop.time())
        if flip is not None:
            self.turn()

    async def run(self) -> None:
        """Turns once a second until cancelled: for all that is a matter of time."""
        while True:
            self.turn()
            await asyncio.sleep(TURN)

    def turn(self) -> None:
        """One decision about everything, and the rows that follow from it."""
        self.turns += 1
        now, wall = self._loop.time(), self._wall()
        seen = self._known.seen
        blind = self._blind(
            [name for name, one in seen.items() if one.state == State.UNKNOWN and one.cause != Cause.STARTING]
        )
        book, said = step(self._book, self._graph, seen, now, wall=wall, round_over=self._known.round_over, blind=blind)
        puts: tuple[Put, ...] = ()
        if book.cases or said:
            book, puts = route(book, said, self._graph, seen, self._ways(book), now, wall=wall)
        puts = (*self._remember(book, now, wall), *puts)
        self._book = book
        for one in said:
            log.info("incident", says=one.text, incident=one.incident.id, what=one.what.value)
            self._board.incidents_opened += one.what == Happening.OPENED
        ended = [one.incident for one in said if one.what == Happening.RESOLVED]
        if book is not self._kept or puts:
            self._keep(book, ended, puts, now, wall)
        self._show(blind)

    def save_again(self) -> None:
        """Have everything written again that is known in memory: the database is a fresh one.

        What waited for its provider may be lost with the old one. So what is open is put again where anything waited,
        unless the fresh outbox knows of it; and whose resolve may have waited is resolved as after lost state.
        """
        silences, now, wall = list(self._silences.values()), self._loop.time(), self._wall()
        waiting = {name for name, status in self._board.outbox.items() if status.pending}
        again = self._told_again(waiting, now, wall)
        if any(one.keyed and one.name in waiting for one in self._channels):
            self._forgotten = {BLIND, *self._graph.services}
        self._keep(self._book, (), (), now, wall)

        def write(conn: sqlite3.Connection) -> None:
            for one in silences:
                logbook.save_silence(conn, one)
            known = {(row.channel, row.incident) for put in again for row in outbox.told(conn, put.alert.incident)}
            _put(conn, [put for put in again if (put.channel, put.alert.incident) not in known])

        self._recorder.also(write)

    def _told_again(self, channels: Collection[str], now: float, wall: float) -> list[Put]:
        """What would be told to those of `channels` that were told of an open incident, had they not been."""
        book = self._book
        cases = {root: replace(case, incident=replace(case.incident, told=())) for root, case in book.cases.items()}
        untold = replace(book, cases=cases, openings=())
        _, puts = route(untold, (), self._graph, self._known.seen, self._ways(book), now, wall=wall)
        told = {(channel, one.id) for one in book.open for channel, _ in one.told if channel in channels}
        return [
            replace(put, alert=self._masked(put.alert)) for put in puts if (put.channel, put.alert.incident) in told
        ]

    def notice(self, title: str, sentence: str) -> None:
        """Have something told in chat that is about the daemon itself."""
        alert = self._notice(title, sentence, severity=Severity.INFO, at=self._wall())
        puts = [Put(channel=one.name, alert=alert) for one in self._chats()]
        self._recorder.also(lambda conn: _put(conn, puts))

    def trouble(self, conn: sqlite3.Connection, trouble: Trouble) -> None:
        """Tell the other channels what one of them was not told. On the writer thread, in the caller's transaction."""
        # The same trouble put twice, when the database fails under it, is one message.
        name = f"notice-{trouble.channel}-{trouble.matter}-{round(trouble.at * 1000)}"
        alert = self._notice(trouble.title(), trouble.sentence(), severity=Severity.ERROR, at=trouble.at, name=name)
        _put(conn, [Put(channel=one.name, alert=alert) for one in self._chats(besides=trouble.channel)])

    async def incidents(self, *, since: float) -> Sequence[Incident]:
        """The open incidents, and those that ended at or after `since` (epoch seconds), the newest first."""
        past = await self._state.read(lambda conn: logbook.load_incidents(conn, since=since))
        now_open = self._book.open
        ids = {one.id for one in now_open}
        return [*reversed(now_open), *(one for one in past if one.id not in ids and one.resolved_at is not None)]

    async def acknowledge(self, incident: str, by: str) -> bool:
        """Stops the reminders of the open incident with this id; False when there is none."""
        root = next((root for root, case in self._book.cases.items() if case.incident.id == incident), None)
        if root is None:
            return False
        self._book, said = acknowledge(self._book, root, by=by, wall=self._wall())
        if said is not None:
            log.info("incident", says=said.text, incident=incident, what=said.what.value)
        self.turn()
        await self._recorder.flush()
        return True

    async def silences(self) -> Sequence[Silence]:
        """The silences that hold or will."""
        now = self._wall()
        self._silences = {id_: one for id_, one in self._silences.items() if not one.over(now)}
        return sorted(self._silences.values(), key=lambda one: one.since)

    async def silence(self, silence: Silence) -> None:
        """Keeps a new one."""
        self._silences[silence.id] = silence
        log.info("silenced", service=silence.service, why=silence.why, by=silence.by)
        await self._state.transact(lambda conn: logbook.save_silence(conn, silence))
        self.turn()

    async def end_silence(self, silence: str) -> bool:
        """Ends the silence with this id; False when there is none."""
        gone = self._silences.pop(silence, None)
        if gone is None:
            return False
        log.info("silence_ended", service=gone.service, why=gone.why, by=gone.by)
        await self._state.transact(lambda conn: logbook.end_silence(conn, silence))
        self.turn()
        return True

    def _ways(self, book: Book) -> Ways:
        """What routing goes by; the facts of whoever may be told of, and of what they depend on."""
        names = {name for root in book.cases for name in (root, *self._graph.parents.get(root, ()))}
        return Ways(
            instance=self._board.instance,
            channels=self._channels,
            settings=self._settings,
            silences=tuple(self._silences.values()),
            facts={name: self._recorder.facts.of(name) for name in names},
        )

    def _remember(self, book: Book, now: float, wall: float) -> tuple[Put, ...]:
        """After lost state: the resolves of whatever turns out to be up, from the first full round on, one at a time.

        One at a time, so that what breaks meanwhile does not wait behind hundreds of them, and so that none is on its
        way for what has just broken.
        """
        self._forgotten -= set(book.cases)
        if not self._forgotten or not self._known.round_over or now < self._remember_at:
            return ()
        seen = self._known.seen
        name = next((name for name in sorted(self._forgotten) if name == BLIND or seen[name].state == State.UP), None)
        if name is None:
            return ()
        self._forgotten.discard(name)
        self._remember_at = now + RESOLVES_APART
        return tuple(
            put
            for put in amnesia(self._graph, {name: seen[name]} if name in seen else {}, self._ways(book), wall=wall)
            if put.alert.service == name
        )

    def _keep(self, book: Book, ended: Sequence[Incident], puts: Sequence[Put], now: float, wall: float) -> None:
        """Hands the recorder what has to be written. Whatever it is, it can be written twice."""
        self._kept = book
        puts, forgotten = [replace(put, alert=self._masked(put.alert)) for put in puts], frozenset(self._forgotten)

        def write(conn: sqlite3.Connection) -> None:
            logbook.save_book(conn, book, now=now, wall=wall)
            logbook.save_forgotten(conn, forgotten)
            for incident in ended:
                logbook.add_past(conn, incident)
            _put(conn, puts)

        self._recorder.also(write)

    def _masked(self, alert: Alert) -> Alert:
        """The alert without any secret we know of; none should be in it anyway."""
        return replace(
            alert,
            sentence=masked(alert.sentence),
            evidence=masked(alert.evidence),
            remedy=masked(alert.remedy),
            note=masked(alert.note),
            changes=tuple(replace(change, text=masked(change.text)) for change in alert.changes),
        )

    def _notice(self, title: str, sentence: str, *, severity: Severity, at: float, name: str = "") -> Alert:
        return write_notice(
            name or f"notice-{secrets.token_hex(6)}",
            title,
            masked(sentence),
            severity=severity,
            at=at,
            instance=self._board.instance,
            status_url=self._settings.public_url,
        )

    def _chats(self, besides: str = "") -> list[Channel]:
        return [one for one in self._channels if one.name != besides and not one.pages]

    def _show(self, blind: Blindness | None) -> None:
        """Puts on the board what metrics and pages show."""
        board, wall = self._board, self._wall()
        board.blind_since = None if blind is None or blind.partly else wall - (self._loop.time() - blind.since)
        board.silences_active = sum(one.active(wall) for one in self._silences.values())
        counts = dict.fromkeys(Severity, 0)
        for case in self._book.cases.values():
            one = case.incident
            counts[severity_of(self._graph, one.root, one.check, one.worst) or Severity.INFO] += 1
        board.incidents_open = counts


def _put(conn: sqlite3.Connection, puts: Iterable[Put]) -> None:
    for put in puts:
        outbox.put(conn, put.channel, put.alert)
