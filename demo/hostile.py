"""Servers that answer as no server should: what a probe must survive, by the protocol that is abused.

An attack is what is said after each time the other side was heard, and how it ends. The words are made anew for every
connection, so that an endless one costs nothing until it is played.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

Words = Callable[[], Iterable[bytes]]
End = Literal["close", "hold", "reset"]

CHUNK = 65_536
LINE = b"\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """What a hostile server says. `steps` are said one after the other, each when it has heard something.

    With `echo`, it first gives back what it heard. `pause` is the seconds between two pieces. An `endless` one never
    stops by itself, and is played to measure memory.
    """

    name: str
    steps: tuple[Words, ...]
    end: End = "close"
    pause: float = 0.0
    echo: bool = False
    endless: bool = False

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Plays it on one connection, until the other side has had enough."""
        with suppress(ConnectionError):
            for step in self.steps or (lambda: (),):
                heard = await reader.read(CHUNK)
                if not heard:
                    return
                for words in (*([heard] if self.echo else ()), *step()) if not self.endless else step():
                    writer.write(words)
                    await writer.drain()
                    await asyncio.sleep(self.pause)
            if self.end == "hold":
                while await reader.read(CHUNK):
                    pass
            elif self.end == "reset":
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def said(name: str, *steps: bytes, end: End = "close", pause: float = 0.0) -> Attack:
    """Says each of `steps` once."""

    def words(step: bytes) -> Words:
        return lambda: (step,)

    return Attack(name=name, steps=tuple(map(words, steps)), end=end, pause=pause)


def endless(name: str, *before: bytes, again: bytes) -> Attack:
    """Says what is `before`, a step each, and then one thing for ever, in large pieces."""
    piece = again * max(1, CHUNK // len(again))
    steps: list[Words] = [lambda step=step: (step,) for step in before[:-1]]  # type: ignore[misc]  # bound at once
    last = before[-1] if before else b""
    return Attack(name=name, steps=(*steps, lambda: _for_ever(last, piece)), endless=True)


def _for_ever(first: bytes, piece: bytes) -> Iterator[bytes]:
    yield first
    yield from repeat(piece)


def noise(seed: int, length: int = 2_000) -> bytes:
    """Bytes that mean nothing, the same for the same seed."""
    return random.Random(seed).randbytes(length)


# What is hostile in any protocol.
ANY: tuple[Attack, ...] = (
    Attack(name="closes at once", steps=()),
    Attack(name="resets at once", steps=(), end="reset"),
    Attack(name="is silent", steps=(), end="hold"),
    Attack(name="gives back what it heard", steps=(lambda: (),), echo=True),
    Attack(name="gives back what it heard and waits", steps=(lambda: (), lambda: ()), echo=True, end="hold"),
    said("noise", noise(1)),
    said("noise that waits", noise(2), end="hold"),
    said("zeros", bytes(5_000)),
    said("ones", b"\xff" * 5_000),
    said("no UTF-8", b"\xc3\x28\xa0\xa1\xf8\x88\x88\x88" * 100 + b"\r\n\r\n"),
    said("signs that draw", b"\x1b[2J\x1b]0;x\x07\x00\x08\xe2\x80\xae\xe2\x80\x8b\r\n" * 20),
    said("one byte", b"\x00", end="hold"),
    Attack(name="a drip", steps=(lambda: (bytes([byte]) for byte in noise(3)),), pause=0.01),
    endless("letters without end", again=b"A"),
    endless("lines without end", again=b"A\r\n"),
    endless("zeros without end", again=b"\x00"),
)
