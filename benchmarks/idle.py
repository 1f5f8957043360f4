"""What the daemon costs when nothing happens: memory and CPU over ten minutes on the full local stack, at its own pace.

python -m benchmarks.idle [--seconds 600]
"""

import argparse
import time

import psutil

from demo.daemon import Daemon
from demo.process import Keeper
from demo.stack import Stack


def main() -> None:
    """Starts the stack and the daemon, waits, and prints what the daemon used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args().seconds
    with Keeper.start() as keeper:
        stack = Stack(keeper, real_litellm=False).start()
        with Daemon(stack.variables, keeper=keeper) as daemon:
            time.sleep(30)  # the first round and the imports are not idling
            process = psutil.Process(daemon.pid)
            began, used = time.monotonic(), sum(process.cpu_times()[:2])
            start = process.memory_info().rss
            peak = start
            while time.monotonic() < began + seconds:
                time.sleep(5)
                peak = max(peak, process.memory_info().rss)
            wall, used = time.monotonic() - began, sum(process.cpu_times()[:2]) - used
            services = daemon.services()
            checks = sum(len(service["checks"]) for service in services.values())
            print(f"services     {len(services)}, {checks} checks, every 60 s; measured {wall:.0f} s")
            print(f"states       {sorted({service['state'] for service in services.values()})}")
            print(f"CPU          {used / wall:.2%} of a core ({1000 * used / (checks * wall / 60):.1f} ms a check)")
            print(f"RSS          {start / 1e6:.0f} MB at 30 s, {process.memory_info().rss / 1e6:.0f} MB at the end,")
            print(f"             {peak / 1e6:.0f} MB at most; {process.num_fds()} open files")
        stack.close()


if __name__ == "__main__":
    main()
