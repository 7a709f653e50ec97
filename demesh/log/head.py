"""The position of one entry in its log. Apart from `entry`, so that who only speaks of positions loads no cryptography."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """The position of one entry in its log."""

    seq: int
    hash: bytes
