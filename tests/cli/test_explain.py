"""`demesh explain`: from a node, from a store, from an export, and the same from each."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from demesh.explaining import explain_at_once, question_of
from demesh.log.store import Store
from tests.cli.answering import node_answering, url_answering
from tests.cli.harness import Ran, demesh
from tests.log.builders import MESH, put
from tests.view.telling import Pile, SignedLog, logs_of, outage

_SINCE, _UNTIL = "2023-11-14T22:18:00Z", "2023-11-14T22:24:30Z"
_WINDOW = ("--since", _SINCE, "--until", _UNTIL)
_QUERY = {"since": "2023-11-14T22:18:00+00:00", "until": "2023-11-14T22:24:30+00:00"}

_SHOWN = """\
check web · mesh 00010203 · 2023-11-14 22:18:00 to 2023-11-14 22:24:30 UTC, by the nodes' own clocks
99 entries of 3 logs read

at the beginning: ✔ up, 3 of 3 pass
22:20:20  a  #14–20  … 3 passes
22:20:30  b  #14–20  … 3 passes
22:21:20  a  #23     ✖ fail: said fail, 1 of 2
22:21:30  b  #23     ✖ fail: said fail, 1 of 2
22:22:20  a  #26     ✖ fail: said fail, 2 in a row: votes fail  → 1 of 3 fails < quorum 2 (majority) → PARTIAL
22:22:30  b  #26     ✖ fail: said fail, 2 in a row: votes fail  → 2 of 3 fail >= quorum 2 (majority) → DOWN
22:23:05  a  #29     ! notified web name=DemeshCheckDown sink=ops state=firing
22:23:20  a  #30     … 1 fail
22:23:30  b  #29     … 1 fail
22:23:40  c  #14–29  … 6 passes
22:24:20  a  #33     ✔ pass, 1 of 2 to recover
22:24:30  b  #32     ✔ pass, 1 of 2 to recover

web is down since 22:22:30 (first failure 22:21:20): 2 of 3 fail >= quorum 2 (majority). a, b: fail; c: pass. a told ops
of DemeshCheckDown (firing) at 22:23:05.
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "mesh.id").write_text(MESH.hex())
    with Store(home / "log.db", mesh_id=MESH) as store:
        put(store, *logs_of(outage(SignedLog)))
    return home


def _explain(home: Path, *arguments: str) -> Ran:
    return demesh(home, "explain", *arguments)


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_what_a_person_reads(home: Path) -> None:
    ran = demesh(home, "explain", "web", *_WINDOW, COLUMNS="120")
    assert (ran.code, ran.err) == (0, f"No node is running on {home}: this is what its store tells.\n")
    assert ran.out.splitlines() == _SHOWN.splitlines()


def test_a_narrow_terminal_has_what_a_step_came_to_below_it(home: Path) -> None:
    lines = demesh(home, "explain", "web", *_WINDOW, COLUMNS="70").out.splitlines()
    assert max(map(len, lines[2:])) <= 70
    (said,) = [number for number, line in enumerate(lines) if line.startswith("22:22:30  b")]
    assert lines[said + 1].strip() == "→ 2 of 3 fail >= quorum 2 (majority) → DOWN"


def test_store_exports_and_entries_tell_byte_for_byte_the_same(home: Path, tmp_path: Path) -> None:
    first = _explain(home, "web", *_WINDOW, "--json").out
    question = question_of("web", None, _SINCE, _UNTIL, 0)
    assert json.loads(first) == explain_at_once(Pile(outage(SignedLog).written), question)
    for form in ("jsonl", "cbor"):
        file = tmp_path / form
        assert demesh(home, "log", "export", "--format", form, "-o", str(file)).code == 0
        elsewhere = tmp_path / f"elsewhere-{form}"
        ran = _explain(elsewhere, "web", *_WINDOW, "--json", "--from", str(file), "--mesh", MESH.hex())
        assert (ran.code, ran.err, ran.out) == (0, "", first)
        assert not elsewhere.exists()


def test_an_export_since_a_time_holds_what_explaining_it_takes(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "logs"
    assert demesh(home, "log", "export", "--since", "2023-11-14T22:20:00Z", "-o", str(file)).code == 0
    ran = _explain(home, "web", "--since", "2023-11-14T22:21:00Z", "--until", _UNTIL, "--from", str(file), "--json")
    assert json.loads(ran.out)["closing"]["verdict"] == "down"


def test_an_export_that_was_changed_is_refused(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "logs"
    assert demesh(home, "log", "export", "--format", "cbor", "-o", str(file)).code == 0
    raw = bytearray(file.read_bytes())
    raw[raw.index(b"said fail")] = ord("h")
    file.write_bytes(raw)
    ran = _explain(home, "web", "--from", str(file))
    assert (ran.code, ran.out) == (2, "")
    assert "its signature is wrong" in ran.err or "its link is not the hash" in ran.err


def test_a_running_node_is_asked(home: Path) -> None:
    answer = json.loads(_explain(home, "web", *_WINDOW, "--json").out)
    path = f"/api/v1/explain?{urlencode({'name': 'web', **_QUERY})}"
    other = home.parent / "other"
    with node_answering(other, {path: answer}):
        ran = _explain(other, "web", *_WINDOW, "--json")
    assert (ran.code, json.loads(ran.out)) == (0, answer)
    with url_answering({path: answer}) as url:
        assert "web is down since" in _explain(home, "web", *_WINDOW, "--node", url).out
    with url_answering({path: {"some": "thing"}}) as url:
        ran = _explain(home, "web", *_WINDOW, "--node", url)
        assert (ran.code, "its answer is not an explanation" in ran.err) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("wbe", *_WINDOW), "did you mean 'web'?"),
        (("web", "--since", "noon"), "'noon' is neither a duration"),
        (("web", "--since", "1h", "--until", "2h"), "the time begins after it ends"),
        (("web", "--from", "nowhere.jsonl"), "Cannot read nowhere.jsonl: No such file"),
        (("web", "--from", "x", "--mesh", "12"), "'12' is no mesh id"),
        (("web", "--from", "x", "--node", "http://y"), "give one of them"),
    ],
)
def test_a_mistake_is_answered_with_a_sentence(home: Path, arguments: tuple[str, ...], says: str) -> None:
    ran = _explain(home, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


def test_an_export_needs_the_id_of_its_mesh(home: Path, tmp_path: Path) -> None:
    shutil.rmtree(home)
    ran = _explain(home, "web", "--from", str(tmp_path / "x"))
    assert (ran.code, "say --mesh ID" in ran.err) == (2, True)


def test_control_characters_of_others_do_not_reach_the_terminal(home: Path) -> None:
    answer = json.loads(_explain(home, "web", *_WINDOW, "--json").out)
    answer["steps"][0]["text"] = "\x1b[2J"
    answer["conclusion"] = "\x1b]0;x"
    with url_answering({f"/api/v1/explain?{urlencode({'name': 'web', **_QUERY})}": answer}) as url:
        assert "\x1b" not in _explain(home, "web", *_WINDOW, "--node", url).out
