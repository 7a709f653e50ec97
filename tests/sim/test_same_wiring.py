"""What is simulated is what `demesh node run` wires: the very classes and tasks, but for the edges that touch the world."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import trio
from nacl.signing import SigningKey

from demesh.cli import running
from demesh.cli.first_start import swarm_key_files
from demesh.clock import SystemClock
from demesh.config.load import Settings
from demesh.edges import Edges
from demesh.home import Home
from demesh.log.store import Store
from demesh.node import Node
from demesh.systemd.notify import Notifying
from demesh.systemd.telling import Telling
from demesh.view.history_store import HistoryStore
from tests.log.builders import MESH
from tests.sim import machine as simulated
from tests.sim.disk import Disks
from tests.sim.scenario import scenario
from tests.sim.simulation import Simulation
from tests.sim.story import Story
from tests.sim.virtual import JumpingClock

_OTHER_IN_THE_SIMULATION = {
    "clock",
    "network",
    "probes",
    "public_probes",
    "listed_probes",
    "post",
    "read_marker",
    "write_marker",
    "rng",
    "load_settings",
    "epoch_nonce",
    "starting",
}
"""The edges whose class differs. Of the marker's only that each call is a moment at which a process may die."""


class _Watch(trio.abc.Instrument):
    """Notes which functions are started as tasks."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.names.add(task.name)


class _Captured(Exception):
    pass


def _own_methods(of: object) -> set[str]:
    return {name for name in vars(type(of)) if not name.startswith("__")}


def _wired(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Edges:
    """The edges that `demesh node run` makes."""
    found: list[Edges] = []

    def capture(settings: Settings, key: SigningKey, mesh_id: bytes, edges: Edges) -> Node:
        found.append(edges)
        raise _Captured

    monkeypatch.setattr(running, "Node", capture)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    home = Home(tmp_path)
    settings = Settings("ann", listen=(("127.0.0.1", 0),))
    key_files = swarm_key_files(home, settings)
    source: Any = type("Source", (), {"load": None, "files": None})
    api: Any = None
    with Store(home.log_db, mesh_id=MESH) as store, HistoryStore(home.view_db) as history:
        start = running.Start(
            settings=settings,
            source=source,
            files={},
            home=home,
            key=SigningKey.generate(),
            key_files=key_files,
            swarm_keys=key_files.open(),
            mesh_id=MESH,
            store=store,
            history=history,
            api=api,
            public=None,
            clock=SystemClock(),
            statistics=False,
            telling=Telling(Notifying(), SystemClock()),
            announce=lambda: None,
        )
        with pytest.raises(_Captured):
            trio.run(running.run, start)
    return found[0]


def _simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Edges, Node, set[str]]:
    """The edges of a simulated machine, its node, and the tasks of that."""
    found: list[Edges] = []

    class Capturing(Node):
        def __init__(self, settings: Settings, key: SigningKey, mesh_id: bytes, edges: Edges) -> None:
            found.append(edges)
            super().__init__(settings, key, mesh_id, edges)

    monkeypatch.setattr(simulated, "Node", Capturing)
    watch = _Watch()

    async def live() -> Node:
        async with trio.open_nursery() as nursery:
            simulation = Simulation(scenario(1, 2, 2, frozenset()), tmp_path, disks, Story(""), nursery)
            await simulation.machines[0].start()
            await trio.sleep(30)
            made = simulation.machines[0].node
            await simulation.machines[0].leave()
            nursery.cancel_scope.cancel()
        return made

    disks = Disks()
    try:
        made = trio.run(live, clock=JumpingClock(), instruments=[watch])
    finally:
        disks.unregister()
    return found[0], made, watch.names


def test_only_what_touches_the_world_is_not_the_real_thing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = _wired(monkeypatch, tmp_path / "real")
    ours, made, tasks = _simulated(monkeypatch, tmp_path)
    for name in (each.name for each in fields(Edges)):
        if name not in _OTHER_IN_THE_SIMULATION:
            assert isinstance(getattr(ours, name), type(getattr(real, name))), name
    assert {type(ours.storage).__name__, type(ours.history_storage).__name__} == {"_Storage", "_HistoryStorage"}
    assert _own_methods(ours.storage) == {"commit", "call"}, "reading and writing go through the real store"
    assert _own_methods(ours.history_storage) == {"_run"}
    assert type(made).run is Node.run
    for each in vars(made).values():
        assert not type(each).__module__.startswith("tests.") or each in (ours, ours.clock), each
    for task in (
        "Intake.run",
        "Syncer.run",
        "Lookout.run",
        "Historian.run",
        "Housekeeper.run",
        "Author.run",
        "Runner.run",
    ):
        assert any(name.endswith(task) for name in tasks), f"{task} does not run: {sorted(tasks)}"
    assert any(name.endswith("keep_dialling") for name in tasks)
    assert any(name.endswith("_keep_books") for name in tasks)
