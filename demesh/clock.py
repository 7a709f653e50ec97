"""The only module that reads a clock.

Three clocks, all in whole milliseconds:

- *monotonic* never jumps and stands still while the machine sleeps; every deadline and every age is measured on it;
- *up* counts from boot and goes on during sleep; together with the boot id it dates an entry for readers that do not
  trust its author's wall clock;
- *wall* (Unix time) is data: it dates things for people and decides nothing.
"""

import hashlib
import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """What demesh knows of time; the simulation brings another one."""

    boot8: bytes
    """Eight bytes that are the same for every process of one boot of this machine."""

    def monotonic_ms(self) -> int: ...

    def up_ms(self) -> int: ...

    def wall_ms(self) -> int: ...


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()
        self.boot8 = hashlib.blake2b(boot_id, digest_size=8, person=b"demesh/boot/1").digest()

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def up_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000


def monotonic_us() -> int:
    """The monotonic clock in microseconds, for a service manager that holds it against its own."""
    return time.monotonic_ns() // 1_000


def packet_ns() -> int:
    """The wall clock in nanoseconds, by which the kernel stamps packets: only for how long ago one came in, and for what a time
    server's clock is held against.
    """
    return time.time_ns()
