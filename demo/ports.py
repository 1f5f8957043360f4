"""Free ports on loopback that stay ours."""

import random
import socket

LOWEST, HIGHEST = 10_240, 29_999
"""Below 30,000: outgoing connections take theirs from above 32,767, so none can slip in between look and use."""

_reservations: dict[int, socket.socket] = {}


def free_port() -> int:
    """Gives a TCP port free on 127.0.0.1 and ::1 that no other process using this function is given.

    The reservation is an abstract Unix socket named after the port. The kernel drops it with this process.
    """
    for _ in range(1_000):
        port = random.randint(LOWEST, HIGHEST)
        if port not in _reservations and (reservation := _reserve(port)):
            _reservations[port] = reservation
            return port
    raise RuntimeError(f"no free port between {LOWEST} and {HIGHEST} on loopback")


def release(port: int) -> None:
    """Lets others have `port` again. One never reserved here is no error."""
    if reservation := _reservations.pop(port, None):
        reservation.close()


def _reserve(port: int) -> socket.socket | None:
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0watchkeeper-demo-port-{port}")
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            if family == socket.AF_INET6 and not _has_ipv6():
                continue
            with socket.socket(family) as listener:
                listener.bind((address, port))
    except OSError:
        reservation.close()
        return None
    return reservation


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
    except OSError:
        return False
    return True
