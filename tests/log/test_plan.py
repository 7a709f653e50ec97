from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Value
from demesh.log.entry import Kind, encode_envelope
from demesh.log.plan import QUORUM_ALL, Plan, PlanPart, PlanReader, PlanRow, read_plan_part, split_plan
from tests.log.builders import Pen, fields_of, generated

_ROW = PlanRow(
    name="web",
    type="http",
    target="https://example.org/",
    definition=bytes(16),
    runs=True,
    interval_ms=60_000,
    timeout_ms=10_000,
    retry_interval_ms=10_000,
    fail_after=2,
    recover_after=2,
    quorum=0,
    severity="critical",
)


def _rows(count: int, target_chars: int = 900) -> list[PlanRow]:
    return [replace(_ROW, name=f"check-{i}", target="x" * target_chars) for i in range(count)]


def _read(parts: list[PlanPart], first_seq: int = 4) -> list[Plan | None]:
    reader = PlanReader()
    return [reader.add(first_seq + i, Kind.PLAN, part.payload()) for i, part in enumerate(parts)]


def test_every_field_of_a_row_survives() -> None:
    full = replace(
        _ROW,
        target="t" * 1_024,
        definition=bytes(range(16)),
        runs=False,
        quorum=QUORUM_ALL,
        nodes=("tag:eu", "home"),
        labels=(("team", "ops"), ("empty", "")),
        options=(("status", "[200]"),),
        spread=limits.SPREAD_MAX,
        takes_part=True,
        whole=True,
        keys=(("method", '"HEAD"'),),
        origin=bytes(range(32)),
        notify=False,
        anchor=True,
        paused=True,
        parked=True,
        depends_on=("router", "lb"),
        runbook="https://wiki.example.org/web",
    )
    part = PlanPart(0, 1, (full, _ROW), (bytes(16), b"\1" * 16))
    assert read_plan_part(part.payload()) == part


@generated
@given(st.lists(st.integers(0, 1_024), max_size=60))
def test_a_plan_split_over_entries_is_put_together_again(target_chars: list[int]) -> None:
    rows = [replace(_ROW, name=f"check-{i}", target="x" * chars) for i, chars in enumerate(target_chars)]
    parts = split_plan(rows, [bytes(16)])
    *unfinished, whole = _read(parts)
    assert unfinished == [None] * (len(parts) - 1)
    assert whole == Plan(4, tuple(rows), (bytes(16),))


def test_every_part_of_a_plan_fits_an_entry() -> None:
    pen = Pen("ann")
    pen.hello()
    largest = replace(_ROW, options=tuple((f"key-{i}", "ä" * 220) for i in range(32)))
    parts = split_plan([*_rows(40), largest, largest], [bytes(16)] * limits.LABELS_MAX)
    assert len(parts) > 3
    for part in parts:
        entry = pen.write(Kind.PLAN, part.payload())
        assert len(encode_envelope(entry)) <= limits.ENTRY_BYTES_MAX


def test_plan_without_checks_is_a_plan() -> None:
    assert _read(split_plan([])) == [Plan(4, ())]


def test_row_that_fits_no_entry_is_refused_by_name() -> None:
    unwieldy = replace(_ROW, options=tuple((f"key-{i}", "v" * 600) for i in range(32)))
    with pytest.raises(EntryError, match="'web'") as refused:
        split_plan([unwieldy])
    assert refused.value.reason == "too_large"


def test_plan_of_too_many_parts_is_refused() -> None:
    one_a_part = replace(_ROW, options=(("key", "v" * 8_000),))
    assert len(split_plan([one_a_part] * limits.PLAN_PARTS_MAX)) == limits.PLAN_PARTS_MAX
    with pytest.raises(EntryError, match="1025 parts"):
        split_plan([one_a_part] * (limits.PLAN_PARTS_MAX + 1))


def test_interrupted_plan_is_ignored_and_the_next_one_is_read() -> None:
    first, second, third = split_plan(_rows(40))
    reader = PlanReader()
    assert reader.add(4, Kind.PLAN, first.payload()) is None
    assert reader.add(5, Kind.RESULTS, []) is None
    assert reader.add(6, Kind.PLAN, second.payload()) is None
    assert reader.add(7, Kind.PLAN, third.payload()) is None
    assert reader.add(8, Kind.PLAN, PlanPart(0, 1, (_ROW,)).payload()) == Plan(8, (_ROW,))


def test_plan_begun_anew_counts_from_its_new_beginning() -> None:
    parts = split_plan(_rows(40))
    *unfinished, whole = _read([parts[0], parts[1], *parts])
    assert unfinished == [None] * 4
    assert whole == Plan(6, tuple(_rows(40)))


@pytest.mark.parametrize("order", [[0, 2, 1], [1, 0, 2], [0, 0, 1], [0, 1, 1], [1, 2]])
def test_parts_out_of_order_make_no_plan(order: list[int]) -> None:
    parts = split_plan(_rows(40))
    assert not any(_read([parts[i] for i in order]))


def test_parts_of_different_plans_make_no_plan() -> None:
    two, three = split_plan(_rows(20)), split_plan(_rows(40))
    assert (len(two), len(three)) == (2, 3)
    assert not any(_read([three[0], two[1], three[2]]))


def test_parts_with_a_place_left_out_between_them_make_no_plan() -> None:
    one, two = split_plan(_rows(20))
    reader = PlanReader()
    assert reader.add(4, Kind.PLAN, one.payload()) is None
    assert reader.add(6, Kind.PLAN, two.payload()) is None


def _payload(column: int, value: Value) -> Value:
    row = fields_of(_ROW.value())
    return [0, 1, [[*row[:column], value, *row[column + 1 :]]], []]


@pytest.mark.parametrize(
    "payload",
    [
        [1, 1, [], []],
        [0, 0, [], []],
        [0, limits.PLAN_PARTS_MAX + 1, [], []],
        [0, 1, [], [bytes(15)]],
        [0, 1, [7], []],
        [0, 1, []],
        _payload(0, ""),
        _payload(0, "n" * 65),
        _payload(3, bytes(15)),
        _payload(4, 2),
        _payload(5, 0),
        _payload(6, limits.TIMEOUT_MS_MAX + 1),
        _payload(8, 0),
        _payload(10, QUORUM_ALL + 1),
        _payload(13, ["key without value"]),
        *(
            [0, 1, [[*fields_of(_ROW.value()), *later]], []]
            for later in (
                [limits.SPREAD_MAX + 1, 0, 0, [], b""],
                [1, 2, 0, [], b""],
                [1, 0, 2, [], b""],
                [1, 0, 0, ["key without value"], b""],
                [1, 0, 0, [], b"short"],
                [1],
            )
        ),
    ],
)
def test_plan_out_of_shape_is_refused(payload: Value) -> None:
    with pytest.raises(EntryError) as refused:
        read_plan_part(payload)
    assert refused.value.reason == "shape"


def test_fields_of_a_later_version_are_skipped() -> None:
    row = replace(_ROW, spread=3, whole=True, anchor=True)
    assert read_plan_part([0, 1, [[*fields_of(row.value()), "more"]], [], "more"]) == PlanPart(0, 1, (row,))


def test_a_row_that_says_nothing_new_is_as_an_earlier_version_wrote_it() -> None:
    assert len(fields_of(_ROW.value())) == 15
    assert len(fields_of(replace(_ROW, whole=True).value())) == 20
    assert len(fields_of(replace(_ROW, notify=False).value())) == 23
