"""What the daemon's API showed while faults were played, and whether that was right. Pure: documents and times in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from demo.expectations import Expected, Told
from demo.faults.matrix import Play

BAD = ("down", "degraded")


@dataclass(slots=True)
class Seen:
    """What became of one service since a round began. Times are seconds since the epoch."""

    state: str = ""
    cause: str | None = None
    text: str = ""
    missed_at: float | None = None
    told: list[tuple[float, str, str | None]] = field(default_factory=list)
    checks: Mapping[str, str] = field(default_factory=dict)

    @property
    def bad(self) -> bool:
        """Whether it is told down or degraded."""
        return self.state in BAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one play. `problems` says in words what is wrong; `seen_after` and `told_after` are seconds.

    `checks` are those of the first service that are confirmed bad, and their verdicts.
    """

    play: Play
    told: Mapping[str, tuple[str, str | None]]
    problems: tuple[str, ...] = ()
    seen_after: float | None = None
    told_after: float | None = None
    checks: Mapping[str, str] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Whether exactly what was expected was told."""
        return not self.problems


class Sighting:
    """Every service since `began` (epoch seconds), look by look at the API, without the backups, judged by days."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.services: dict[str, Seen] = {}

    def look(self, services: Iterable[Mapping[str, Any]], at: float) -> None:
        """Takes in the services as the API lists them, `at` epoch seconds."""
        for service in services:
            if service["name"] != "backups":
                self._one(self.services.setdefault(str(service["name"]), Seen()), service, at)

    def _one(self, seen: Seen, service: Mapping[str, Any], at: float) -> None:
        before = (seen.state, seen.cause)
        seen.state, seen.cause = str(service["state"]), service["cause"]
        seen.text = " ".join(str(service[key]) for key in ("evidence", "sentence", "remedy") if service[key])
        if seen.bad and (seen.state, seen.cause) != before:
            seen.told.append((at, seen.state, seen.cause))
        amiss = {check["name"]: _epoch(check["last_run_at"]) for check in service["checks"] if _amiss(check)}
        seen.checks = {
            str(check["name"]): str(check["verdict"]) for check in service["checks"] if check["state"] in BAD
        }
        newest = [ran for ran in amiss.values() if ran >= self.began]
        if newest and seen.missed_at is None:
            seen.missed_at = min(newest)

    def stands(self, wanted: Expected) -> bool:
        """Whether exactly this is told now of the services it names."""
        return all(
            _as_told(told, seen.state, seen.cause)
            for name, told in wanted.not_up.items()
            for seen in (self.services.get(name, Seen()),)
        )

    def blamed(self, expected: Iterable[str]) -> dict[str, tuple[str, str | None]]:
        """Those told down or degraded at any time whom nobody expected: how each was told first."""
        known = set(expected)
        return {name: seen.told[0][1:] for name, seen in self.services.items() if seen.told and name not in known}


def judged(play: Play, sighting: Sighting, *, began: float, others: Iterable[str] = ()) -> Result:
    """What came of `play`, begun at `began`; `others` are the services that other plays of its round are told of."""
    wanted = play.expected
    seen = {name: sighting.services.get(name, Seen()) for name in wanted.not_up}
    problems = [text for name, told in wanted.not_up.items() for text in _wrong(name, told, seen[name])]
    blamed = sighting.blamed({*wanted.not_up, *others})
    problems += [f"{name} was told {state} ({cause}) and is well" for name, (state, cause) in blamed.items()]
    first = next(iter(wanted.not_up), None)
    if first and not problems and wanted.shows not in seen[first].text:
        problems.append(f"what is told of {first} does not say “{wanted.shows}”")
    missed = [one.missed_at for one in seen.values() if one.missed_at is not None]
    final = [one.told[-1][0] for one in seen.values() if one.told]
    return Result(
        play=play,
        told={name: (one.state, one.cause) for name, one in seen.items() if one.bad} | blamed,
        problems=tuple(problems),
        seen_after=max(0.0, min(missed) - began) if missed else None,
        told_after=max(0.0, max(final) - began) if final and not problems else None,
        checks=seen[first].checks if first else {},
    )


def _wrong(name: str, wanted: Told, seen: Seen) -> list[str]:
    """What is wrong with what was told of one service: it must stand now, and no other cause may have been told."""
    if not _as_told(wanted, seen.state, seen.cause):
        return [f"{name} is {seen.state or 'not watched'} ({seen.cause}), not {wanted.state} ({wanted.cause.value})"]
    causes = dict.fromkeys(str(cause) for _, _, cause in seen.told)
    return [f"{name} was told as {cause} on the way" for cause in causes if cause != wanted.cause.value]


def _as_told(wanted: Told, state: str, cause: str | None) -> bool:
    fits = state == wanted.state or (wanted.state == "not up" and state in BAD)
    return fits and cause == wanted.cause.value


def _amiss(check: Mapping[str, Any]) -> bool:
    return check["verdict"] in ("fail", "warn") and check["last_run_at"] is not None


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
