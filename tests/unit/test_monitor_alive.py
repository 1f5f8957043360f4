"""Whether every loop advances, on a made-up clock."""

from monitor.alive import LoopSigns, standing_still


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def signs() -> tuple[LoopSigns, Clock]:
    clock = Clock()
    return LoopSigns(clock), clock


def live(one: LoopSigns, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1
        one.turn()


def still() -> int:
    """The progress of a loop that makes none."""
    return 0


def test_a_loop_without_progress_is_stale_until_it_makes_some() -> None:
    one, clock = signs()
    rounds = [0]
    one.expect("recorder", within=30, progress=still)
    one.expect("calendar", within=10, progress=lambda: rounds[0])
    live(one, clock, 9)
    assert one.stale() == {}
    live(one, clock, 20)
    assert one.stale() == {"calendar": 29}
    assert standing_still(one.stale()) == "the calendar has stood still for 29 s"
    rounds[0] += 1
    one.turn()
    assert one.stale() == {}
    assert standing_still({}) == ""


def test_progress_is_a_sign_of_life() -> None:
    one, clock = signs()
    rounds = [0]
    one.expect("watch", within=5, progress=lambda: rounds[0])
    for _ in range(20):
        rounds[0] += 1
        live(one, clock, 4)
        assert one.stale() == {}
    live(one, clock, 6)
    assert list(one.stale()) == ["watch"]


def test_an_hour_of_suspension_is_no_standstill() -> None:
    one, clock = signs()
    one.expect("watch", within=30, progress=still)
    clock.now += 3600
    one.turn()
    assert one.stale() == {}
    live(one, clock, 31)
    assert list(one.stale()) == ["watch"]


def test_a_clock_that_goes_back_makes_nobody_stale() -> None:
    one, clock = signs()
    one.expect("watch", within=30, progress=still)
    clock.now -= 3600
    live(one, clock, 20)
    assert one.stale() == {}
