"""How long an outage takes to be confirmed and told, and its end, at the daemon's own pace of 60 seconds.

    python -m benchmarks.detection [--services 20]

Each service dies at a random moment, half of them by refusing, half by accepting and never answering, and comes back at
another. The bound is 60 s + 2 confirm intervals of 10 s + one confirm deadline of 5 s = 85 s. Told is when the request
reaches the chat provider's stand-in: at once, but where many break within a minute up to 10 s later, so that they are
one message. Takes six minutes.
"""

import argparse
import json
import math
import random
import time

from demo.contract import Contract, LoopThread
from demo.daemon import Daemon
from demo.process import Keeper
from demo.provider import Provider

BOUND = 85.0
SETTLE, SPREAD = 75.0, 60.0


def main() -> None:
    """Plays the outages and prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=20)
    count = parser.parse_args().services
    loop, seed = LoopThread(), random.Random(7)
    targets = {f"saas-api-n{number}": Contract("saas-api", loop=loop).start() for number in range(count)}
    variables = {f"SAAS_API_URL__N{number}": target.url for number, target in enumerate(targets.values())}
    with (
        Keeper.start() as keeper,
        Provider() as provider,
        Daemon({**variables, **provider.environ("webhook", "slack")}, keeper=keeper) as daemon,
    ):
        time.sleep(20)
        now = time.time()
        died = {name: now + seed.uniform(0, SPREAD) for name in targets}
        lives = {name: died[name] + BOUND + 5 + seed.uniform(0, SPREAD) for name in targets}
        events = [(at, name, True) for name, at in died.items()] + [(at, name, False) for name, at in lives.items()]
        for number, (at, name, dies) in enumerate(sorted(events)):
            time.sleep(max(0.0, at - time.time()))
            target = targets[name]
            target.break_with("refuse" if number % 2 else "hang") if dies else target.mend()
        time.sleep(BOUND + 5)
        flips = [json.loads(line) for line in daemon.log.read_text().splitlines() if '"event": "flip"' in line]
        hooks = [(one.at, one.json) for one in provider.of("webhook")]
    report("down", died, flips)
    report("up", lives, flips)
    told("told down", died, hooks, "open")
    told("told up", lives, hooks, "resolve")
    print(f"messages in chat: {len(provider.memory.slack)}")
    for target in targets.values():
        target.stop()
    loop.stop()


def report(state: str, since: dict[str, float], flips: list[dict[str, str]]) -> None:
    """Prints how long after `since` each service was told to be `state`."""
    from datetime import datetime

    took = []
    for name, at in since.items():
        told = [datetime.fromisoformat(flip["timestamp"]).timestamp() for flip in flips if _is(flip, name, state)]
        took.append(min((when - at for when in told if when >= at), default=float("inf")))
    took.sort()
    late = sum(seconds > BOUND for seconds in took)
    print(f"{state:5} {len(took)} services: median {took[len(took) // 2]:.1f} s, longest {took[-1]:.1f} s, {late} late")


def told(what: str, since: dict[str, float], hooks: list[tuple[float, dict[str, str]]], kind: str) -> None:
    """Prints how long after `since` the request about each service came."""
    took = sorted(
        min((at - began for at, one in hooks if one["service"] == name and one["kind"] == kind), default=float("inf"))
        for name, began in since.items()
    )
    p95 = took[math.ceil(0.95 * len(took)) - 1]
    print(
        f"{what:9} {len(took)} services: median {took[len(took) // 2]:.1f} s, p95 {p95:.1f} s, longest {took[-1]:.1f} s"
    )


def _is(flip: dict[str, str], name: str, state: str) -> bool:
    return flip["service"] == name and flip["new"] == state


if __name__ == "__main__":
    main()
