"""What a node holds stays the same while its mesh comes and goes; and a leak would be seen."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.churn.churning import Size
from tests.churn.growth import BOUNDS, Bound, Sample, judge, table
from tests.churn.run import churn

_SMALL = Size(survivors=2, regulars=2, visitors=1, away_seconds=2)
_SECONDS = 75
_COUNTED = ("descriptors", "tasks", "inbound slots")


@pytest.mark.slow
@pytest.mark.e2e
def test_a_survivor_holds_no_more_descriptors_tasks_and_slots_after_a_minute_of_churn(tmp_path: Path) -> None:
    said: list[str] = []
    seen = churn(tmp_path, _SMALL, _SECONDS, random.Random(1), said.append)
    assert seen.happened.total() >= 5
    assert None not in seen.whole, said
    counted = [verdict for verdict in seen.verdicts if verdict.bound.what in _COUNTED]
    assert len(counted) == len(_COUNTED)
    assert all(verdict.flat for verdict in counted), "\n".join([*said, table(counted)])


_SAMPLE = Sample(0, 120, 40, 8, 100, 4, 2, 12)


def _samples(count: int, **each: Sequence[float]) -> list[Sample]:
    rows = [{what: values[index] for what, values in each.items()} for index in range(count)]
    return [replace(_SAMPLE, at_s=15 * index, **row) for index, row in enumerate(rows)]


def _bound(what: str) -> Bound:
    return next(bound for bound in BOUNDS if bound.what == what)


def test_a_slot_lost_at_each_round_is_growth_and_a_hump_is_none() -> None:
    leak = judge("a", _samples(40, inbound_slots=range(40)), _bound("inbound slots"))
    assert leak.growth == pytest.approx(29)  # of the thirty rounds after the warm-up
    assert not leak.flat
    hump = judge(
        "a", _samples(40, inbound_slots=[9 if index == 25 else 2 for index in range(40)]), _bound("inbound slots")
    )
    assert hump.flat
    assert hump.most == 9


def test_what_more_connections_bring_is_not_growth_and_what_comes_besides_is() -> None:
    connections = [4 + index // 10 for index in range(40)]
    brought = judge(
        "a", _samples(40, connections=connections, tasks=[9 * each for each in connections]), _bound("tasks")
    )
    assert brought.growth == pytest.approx(0, abs=0.01)
    leaking = [9 * each + index for index, each in enumerate(connections)]
    besides = judge("a", _samples(40, connections=connections, tasks=leaking), _bound("tasks"))
    assert not besides.flat


def test_what_fills_in_the_first_quarter_is_no_growth() -> None:
    filling = judge(
        "a", _samples(40, resident_mb=[min(120 + 2 * index, 138) for index in range(40)]), _bound("resident, MB")
    )
    assert filling.flat
    assert filling.first == filling.last == 138


def test_the_table_names_what_is_not_flat() -> None:
    verdicts = [judge("n1", _samples(40, inbound_slots=range(40), streams=[12] * 40), bound) for bound in BOUNDS]
    rows = {line.rpartition(" ")[0].split("  ")[0]: line for line in table(verdicts).splitlines()}
    assert rows["inbound slots"].endswith("NO")
    assert rows["streams"].endswith("yes")
