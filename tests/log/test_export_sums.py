"""What `demesh log tail` and `log export` say of sums and events."""

from pathlib import Path

from demesh.log.checkpoint import checkpoint_payloads
from demesh.log.entry import Kind
from demesh.log.event import Event
from demesh.log.export import Reader
from demesh.log.rollup import rollup_payloads
from demesh.log.store import Store
from tests.log import vectors
from tests.log.builders import MESH, Pen, put


def test_rollups_checkpoints_and_events_are_told_in_a_line_and_in_a_record() -> None:
    pen = Pen("ann")
    pen.hello()
    (rollup,), (checkpoint,) = (
        rollup_payloads(vectors.HOUR, vectors.sums()),
        checkpoint_payloads(vectors.DAY, vectors.PREVIOUS, vectors.sums(), vectors.HELD),
    )
    written = [
        pen.write(Kind.ROLLUP, rollup),
        pen.write(Kind.CHECKPOINT, checkpoint),
        pen.write(Kind.EVENT, Event("warning", "retention", {"text": "full"}).payload()),
    ]
    with Store(Path(":memory:"), mesh_id=MESH) as store:
        put(store, pen.entries)
        reader = Reader(store)
        assert [reader.line(entry) for entry in written] == [
            "2026-01-01T01:00:00.000Z in sums: 2 checks",
            "2026-01-01 in sums: 2 checks; 2 logs witnessed",
            "warning retention text=full",
        ]
        told = [reader.record(entry)["said"] for entry in written]
    web = {"check": "web", "up_ms": 3_480_000, "down_ms": 60_000}
    outcomes = {"pass": 4, "fail": 0, "mismatch": 1, "timeout": 0, "error": 0}
    assert told[0]["hour"] == "2026-01-01T01:00:00.000Z"
    assert told[0]["rows"][1] == told[1]["rows"][1] == {**web, "outcomes": outcomes}
    assert [each["seq"] for each in told[1]["vector"]] == [70_000, 9]
    assert told[2]["details"] == {"text": "full"}
