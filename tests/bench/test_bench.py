"""The benchmarks work: a quick run prints what a full one does. What the figures are is no matter of a test."""

import json
import math
import subprocess
import sys

import pytest
from click.testing import CliRunner

from demesh.log.chain import Logs
from tests.bench import __main__
from tests.bench.figure import Budget, Figure, table
from tests.bench.logs import pages, write_log
from tests.bench.scope import Scope
from tests.e2e.harness import require
from tests.log.builders import MESH, NO_LOG

_QUICK_SECONDS_MAX = 90
_BUDGETS = 21


@pytest.mark.slow
@pytest.mark.e2e
def test_quick_run_measures_everything_next_to_its_peers() -> None:
    require("nginx")
    require("prometheus-blackbox-exporter")
    command = [sys.executable, "-m", "tests.bench", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * _QUICK_SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["quick"]
    figures = said["figures"]
    assert sum(figure["budget"] is not None for figure in figures) == _BUDGETS
    assert all(figure["met"] in (True, False) for figure in figures if figure["budget"])
    assert len({figure["what"] for figure in figures}) == len(figures)
    rare = ("loads of", "fsyncs", "of a core", "not passed")  # may be nothing in a short run
    for figure in figures:
        assert math.isfinite(figure["figure"])
        assert figure["figure"] > 0 or any(each in figure["what"] for each in rare), figure
    assert all(figure["peer"] > 0 for figure in figures if "probes per CPU-second" in figure["what"])


@pytest.mark.slow
@pytest.mark.e2e
def test_small_mesh_tells_each_change_and_what_that_costs() -> None:
    command = [sys.executable, "-m", "tests.bench", "mesh", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * _QUICK_SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stderr
    figures = {
        figure["what"].partition("mesh of 3")[2]: figure["figure"] for figure in json.loads(done.stdout)["figures"]
    }
    for what in (": change signed by one, told by all", ": target changes, asked each second, told by all"):
        assert 0 <= figures[f"{what}: p50"] <= figures[f"{what}: p99"]
    at_rest = {what.rpartition(": ")[2]: figure for what, figure in figures.items() if "at 30s" in what}
    assert len(at_rest) == 8
    assert all(figure > 0 for what, figure in at_rest.items() if "CPU" not in what)  # to 10 ms, which may be none


def test_benchmark_that_fails_is_named_and_the_others_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Scope) -> list[Figure]:
        raise AssertionError("only 3 of 10 runs passed")

    monkeypatch.setitem(__main__.USUAL, "append", broken)
    monkeypatch.setitem(__main__.USUAL, "rest", lambda _: [Figure("apples", 3, "kg")])
    done = CliRunner().invoke(__main__.main, ["append", "rest"])
    assert done.exit_code == 1
    assert "apples" in done.stdout
    assert "not measured: append" in done.stderr


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("", 5, ""), None),
        (Figure("", 5, "", budget=Budget(5)), True),
        (Figure("", 6, "", budget=Budget(5)), False),
        (Figure("", 6, "", budget=Budget(5, at_least=True)), True),
        (Figure("", 8, "", 2, "peer", Budget(4, at_least=True, of_ratio=True)), True),
        (Figure("", 7, "", 2, "peer", Budget(4, at_least=True, of_ratio=True)), False),
        (Figure("", 8, "", None, "peer", Budget(4, at_least=True, of_ratio=True)), None),  # the peer is not installed
    ],
)
def test_budget_is_of_the_figure_or_of_its_ratio_to_the_peers(figure: Figure, met: bool | None) -> None:
    assert figure.met is met


def test_table_has_a_row_for_each_figure_and_says_what_missed_its_budget() -> None:
    figures = [Figure("apples", 1_234, "kg", 600, "orchard", Budget(1_000)), Figure("pears", 0.0123, "kg")]
    assert table(figures).splitlines() == [
        "WHAT    FIGURE     PEER         RATIO  BUDGET   MET",
        "apples  1,234 kg   600 orchard  2.1×   ≤ 1,000  NO",
        "pears   0.0123 kg",
    ]


def test_measured_logs_are_what_a_node_takes_in_whole() -> None:
    entries = write_log("ann", MESH, 900)
    sent = list(pages(entries))
    assert len(sent) > 1
    logs = Logs(MESH, NO_LOG)
    assert [entry.seq for page in sent for entry in logs.offer(page).accepted] == [entry.seq for entry in entries]
