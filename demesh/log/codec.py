"""The CBOR subset of docs/protocol.md: unsigned integers, byte strings, text and arrays, in one canonical form.

Guarantees: `decode` accepts exactly the byte strings that `encode` makes of such values, nested at most ENTRY_DEPTH_MAX
deep. Maps, floats, tags, negative numbers, booleans, indefinite lengths, longer-than-needed integers and trailing bytes
are refused. So equal values have equal bytes, and a hash over bytes is a hash over the value.
"""

from collections.abc import Callable, Sequence
from typing import Any, Never, cast

import cbor2

from demesh import limits
from demesh.errors import EntryError

Value = int | bytes | str | list["Value"]
_UINT_MAX = 2**64 - 1


def _refuse_tag(*_: object) -> Never:
    raise ValueError("a tag")


class _NoTags(dict[int, Callable[[Any, bool], Any]]):
    """Refuses every tag as it is met: references, followed, make a few bytes endless."""

    def __missing__(self, tag: int) -> Callable[[Any, bool], Any]:
        return _refuse_tag


_NO_TAGS = _NoTags()


def encode(value: Value) -> bytes:
    return cbor2.dumps(value)


def decode(data: bytes, *, depth_max: int = limits.ENTRY_DEPTH_MAX) -> Value:
    """The value in `data`. Raises EntryError("malformed") for anything that `encode` would not have written."""
    value: Any
    try:
        value = cbor2.loads(
            data, allow_indefinite=False, strict_hashable_types=True, max_depth=depth_max, semantic_decoders=_NO_TAGS
        )
    except (cbor2.CBORDecodeError, ValueError, OverflowError, RecursionError) as error:
        raise EntryError("malformed", f"not acceptable CBOR: {error}") from None
    try:
        size = _canonical_bytes([value], depth_max + 1) - 1
    except ValueError:
        size = -1
    if size != len(data):
        raise EntryError("malformed", "not canonical CBOR of unsigned integers, byte strings, text and arrays")
    return value


def _canonical_bytes(items: list[Any], depth_max: int) -> int:
    """How many bytes `encode` would make of `items`: whatever is written in another way takes more. Raises ValueError.

    Every value of every entry that comes in passes here: what could be a call is written out.
    """
    if depth_max == 0:
        raise ValueError("too deep")
    length = len(items)
    size = 1 if length < 24 else 2 if length < 2**8 else 3 if length < 2**16 else 5
    for item in items:
        kind = type(item)  # pyright: ignore[reportUnknownVariableType] a cast would cost as much as all else
        if kind is int:
            if item < 24:
                if item < 0:
                    raise ValueError("not an unsigned integer")
                size += 1
            elif item < 2**32:
                size += 2 if item < 2**8 else 3 if item < 2**16 else 5
            elif item <= _UINT_MAX:
                size += 9
            else:
                raise ValueError("not an unsigned integer")
            continue
        if kind is list:
            size += _canonical_bytes(item, depth_max - 1)
            continue
        if kind is bytes:
            length = len(item)
        elif kind is str:
            length = len(item) if item.isascii() else len(item.encode())
        else:
            raise ValueError("neither an unsigned integer, nor bytes, text or an array")
        size += length + (1 if length < 24 else 2 if length < 2**8 else 3 if length < 2**16 else 5)
    return size


class Fields:
    """Reads an array from the front, field by field, each with its type and range.

    What follows the fields that this version knows is left unread, so that a later version may append fields.
    `what` names the array in errors. Raises EntryError("shape").
    """

    def __init__(self, value: Value, what: str) -> None:
        if not isinstance(value, list):
            raise EntryError("shape", f"{what} is not an array")
        self._values = value
        self._next = 0
        self._what = what

    @property
    def more(self) -> bool:
        """Whether there is another field."""
        return self._next < len(self._values)

    def uint(self, name: str, maximum: int, minimum: int = 0) -> int:
        value = self._take(name)
        if not isinstance(value, int) or not minimum <= value <= maximum:
            raise self._bad(name, f"an integer from {minimum} to {maximum}")
        return value

    def octets(self, name: str, *sizes: int) -> bytes:
        value = self._take(name)
        if not isinstance(value, bytes) or (sizes and len(value) not in sizes):
            raise self._bad(
                name, f"a byte string of {' or '.join(map(str, sizes))} bytes" if sizes else "a byte string"
            )
        return value

    def text(self, name: str, chars_max: int = limits.TEXT_CHARS_MAX, chars_min: int = 0) -> str:
        value = self._take(name)
        if not isinstance(value, str) or not chars_min <= len(value) <= chars_max:
            raise self._bad(name, f"text of {chars_min} to {chars_max} characters")
        return value

    def array(self, name: str, length_max: int) -> list[Value]:
        value = self._take(name)
        if not isinstance(value, list) or len(value) > length_max:
            raise self._bad(name, f"an array of at most {length_max}")
        return value

    def uints(self, name: str, length_max: int, maximum: int) -> list[int]:
        values = cast(list[int], self.array(name, length_max))
        if values and (set(map(type, values)) != {int} or max(values) > maximum):
            raise self._bad(name, f"integers up to {maximum}")
        return values

    def texts(self, name: str, length_max: int, chars_max: int = limits.TEXT_CHARS_MAX) -> tuple[str, ...]:
        values = self.array(name, length_max)
        for value in values:
            if not isinstance(value, str) or len(value) > chars_max:
                raise self._bad(name, f"texts of at most {chars_max} characters")
        return tuple(cast(list[str], values))

    def rest_octets(self, name: str, size: int) -> list[bytes]:
        """All fields that are left, each a byte string of `size` bytes."""
        found: list[bytes] = []
        while self._next < len(self._values):
            found.append(self.octets(name, size))
        return found

    def _take(self, name: str) -> Value:
        if self._next >= len(self._values):
            raise EntryError("shape", f"{self._what} ends before its {name}")
        self._next += 1
        return self._values[self._next - 1]

    def _bad(self, name: str, allowed: str) -> EntryError:
        return EntryError("shape", f"{self._what}: {name} must be {allowed}")


def values(items: Sequence[Value]) -> list[Value]:
    """A plain array of `items` (lists are invariant to a type checker; this is the one place that knows)."""
    return list(items)
