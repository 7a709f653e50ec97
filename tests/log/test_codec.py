from contextlib import suppress

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from demesh.errors import EntryError
from demesh.log import codec
from demesh.log.codec import Fields, Value, decode, encode
from tests.log.builders import generated

_LEAVES = st.integers(0, 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20)


def _depth(value: Value) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=4), max_leaves=12).filter(
    lambda v: _depth(v) <= 5
)


# What CBOR has and a log has not (RFC 8949), each in an array so that it is refused inside a value too.
_REFUSED = {
    "empty input": "",
    "map": "81a0",
    "map with keys": "81a10102",
    "half float": "81f93c00",
    "single float": "81fa3f800000",
    "double float": "81fb3ff0000000000000",
    "negative": "8120",
    "most negative": "813bffffffffffffffff",
    "false": "81f4",
    "true": "81f5",
    "null": "81f6",
    "undefined": "81f7",
    "simple value": "81e0",
    "simple value in a byte": "81f8ff",
    "reserved head": "811c",
    "indefinite array": "9f01ff",
    "indefinite text": "7f6161ff",
    "indefinite bytes": "5f4101ff",
    "indefinite map": "bf0102ff",
    "lone break": "ff",
    "one byte too many for an integer": "811801",
    "three bytes too many for an integer": "81190001",
    "seven bytes too many for an integer": "811b0000000000000001",
    "overlong byte string": "81580161",
    "overlong text": "81780161",
    "overlong array": "980101",
    "trailing byte": "0101",
    "array cut short": "8201",
    "byte string cut short": "42aa",
    "array of 2^64 - 1": "9bffffffffffffffff",
    "byte string of 2^64 - 1": "5bffffffffffffffff",
    "invalid UTF-8": "8161ff",
    "surrogate in text": "8163eda080",
    "date in a tag": "81c074323031332d30332d32315432303a30343a30305a",
    "time in a tag": "81c11a514b67b0",
    "2^64 as a tagged number": "81c249010000000000000000",
    "negative tagged number": "81c349010000000000000000",
    "tagged decimal": "81c48221196ab3",
    "unknown tag": "81d9270f00",
    "self-described CBOR": "d9d9f700",
    "tagged set": "81d9010280",
    "shared value": "81d81c80",
    "array that contains itself": "d81c81d81d00",
    "array that doubles by reference": "83d81c820101d81c82d81d00d81d0082d81d01d81d01",
    "text that repeats by reference": "d90100826461616161d81900",
    "map of an array": "81a18001",
    "six arrays, the innermost empty": "818181818180",
    "six arrays": "81818181818100",
    "a thousand arrays": "81" * 1_000 + "00",
    "a thousand tags": "c1" * 1_000 + "00",
}


@generated
@given(_VALUES)
def test_values_survive_encoding(value: Value) -> None:
    assert decode(encode(value)) == value


@settings(generated, max_examples=500)
@given(
    _VALUES,
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["18", "19", "58", "78", "98", "f5", "00", "38", ""]))),
)
def test_what_is_decoded_is_what_would_be_encoded(value: Value, changes: list[tuple[int, str]]) -> None:
    """Whatever was put in, or left out, of what is canonical."""
    data = bytearray(encode(value))
    for place, instead in changes[:2]:
        data[place : place + (not instead)] = bytes.fromhex(instead)
    with suppress(EntryError):
        assert encode(decode(bytes(data))) == data


@pytest.mark.parametrize("data", [bytes.fromhex(data) for data in _REFUSED.values()], ids=list(_REFUSED))
def test_only_the_canonical_subset_is_accepted(data: bytes) -> None:
    with pytest.raises(EntryError) as refused:
        decode(data)
    assert refused.value.reason == "malformed"


@pytest.mark.parametrize("name", [name for name in _REFUSED if "reference" in name or "itself" in name])
def test_references_are_refused_before_they_are_followed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes of them stand for values without end."""

    def follow(items: object, depth_max: int) -> int:
        raise AssertionError("it was followed")

    monkeypatch.setattr(codec, "_canonical_bytes", follow)
    with pytest.raises(EntryError):
        decode(bytes.fromhex(_REFUSED[name]))


def test_arrays_may_nest_as_deep_as_the_bound() -> None:
    assert decode(bytes.fromhex("8181818180")) == [[[[[]]]]]
    assert decode(bytes.fromhex("818181818100")) == [[[[[0]]]]]


_ALIEN = st.recursive(
    _LEAVES
    | st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(2**70), 2**70)
    | st.builds(cbor2.CBORTag, st.integers(0, 300), st.integers(0, 3) | st.binary(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=8,
).map(cbor2.dumps)


@st.composite
def _tampered(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(_ALIEN))
    for _ in range(draw(st.integers(0, 3))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


@generated
@given(st.binary(max_size=64) | _tampered())
@example(bytes.fromhex("d81c81d81d00"))
def test_any_bytes_are_refused_or_are_what_encode_writes(data: bytes) -> None:
    try:
        value = decode(data)
    except EntryError:
        return
    assert encode(value) == data


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ([], lambda f: f.uint("n", 9)),
        ([10], lambda f: f.uint("n", 9)),
        ([0], lambda f: f.uint("n", 9, 1)),
        ([b""], lambda f: f.uint("n", 9)),
        ([b"abc"], lambda f: f.octets("n", 2, 4)),
        (["ab"], lambda f: f.octets("n", 2)),
        (["abc"], lambda f: f.text("n", 2)),
        ([""], lambda f: f.text("n", 2, 1)),
        ([b"a"], lambda f: f.text("n", 2)),
        ([[0, 0]], lambda f: f.array("n", 1)),
        ([0], lambda f: f.array("n", 1)),
        ([[0, 5]], lambda f: f.uints("n", 2, 4)),
        ([[b""]], lambda f: f.uints("n", 2, 4)),
        ([["abc"]], lambda f: f.texts("n", 2, 2)),
        ([[0]], lambda f: f.texts("n", 2, 2)),
        ([b"a", b"ab"], lambda f: f.rest_octets("n", 1)),
    ],
)
def test_fields_out_of_shape_are_refused_by_name(value, read) -> None:
    with pytest.raises(EntryError, match=r"^the thing.* n\b") as refused:
        read(Fields(value, "the thing"))
    assert refused.value.reason == "shape"


def test_what_is_no_array_has_no_fields() -> None:
    with pytest.raises(EntryError, match="not an array"):
        Fields(7, "the thing")


def test_fields_at_their_bounds_are_read_and_later_ones_left_alone() -> None:
    fields = Fields([9, b"ab", "xy", [1, 4], ["a"], "of a later version"], "the thing")
    assert fields.uint("a", 9) == 9
    assert fields.octets("b", 2) == b"ab"
    assert fields.text("c", 2) == "xy"
    assert fields.uints("d", 2, 4) == [1, 4]
    assert fields.texts("e", 1, 1) == ("a",)
