"""`demesh demo` as a person runs it: the story happens, what it suggests works, and however it ends, nothing is left of it."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.harness import eventually

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_STORY_SECONDS = 150
_RINGS = re.compile(r"your phone rings: (.+)")
_ENDS = re.compile(r"resolved: (\w+ \w+)")


class Demo:
    """A demo whose temporary directory, home and output are `directory`'s."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.temporary = directory / "t"
        self.theirs = directory / "theirs"
        for each in (self.temporary, self.theirs):
            each.mkdir()
        self._output = directory / "output"
        environment = {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "HOME": str(self.theirs),
            "XDG_RUNTIME_DIR": str(self.theirs),
            "DEMESH_HOME": str(self.theirs / "mine"),
            "DEMESH_SWARM_KEY_FILE": str(self.theirs / "nowhere.key"),
        }
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demesh", "demo", *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, said: str, seconds: float = 60, times: int = 1) -> None:
        def there(output: str) -> bool:
            return output.count(said) >= times or self.process.poll() is not None

        eventually(self.output, there, seconds, said)
        assert self.output().count(said) >= times, self.output()

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def nodes(self) -> dict[str, int]:
        """The pids of its nodes, of all who run."""
        found: dict[str, int] = {}
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if process.name.isdigit():
                    words = (process / "cmdline").read_bytes().split(b"\0")
                    home = next((Path(os.fsdecode(word)) for word in words if self._is_home(word)), None)
                    if home:
                        found[home.name] = int(process.name)
        return found

    def _is_home(self, word: bytes) -> bool:
        return word.startswith(os.fsencode(self.temporary.parent)) and Path(os.fsdecode(word)).name in (
            "fra",
            "nyc",
            "lab",
        )

    def gone_without_a_trace(self) -> None:
        assert self.nodes() == {}
        assert list(self.temporary.iterdir()) == []
        assert list(self.theirs.iterdir()) == []


@pytest.fixture
def directory() -> Iterator[Path]:
    """One with a short name, as the demo's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="demo-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def demos(directory: Path) -> Iterator[list[Demo]]:  # ended before the directory goes
    started: list[Demo] = []
    yield started
    for demo in started:
        assert demo.process.stdin is not None
        demo.process.stdin.close()
        demo.process.kill()
        demo.process.wait()
        for pid in demo.nodes().values():  # of a test that failed
            os.kill(pid, signal.SIGKILL)


def test_the_story_happens_as_told_and_then_the_person_can_try_things(demos: list[Demo], directory: Path) -> None:
    kept = directory / "kept"
    demo = Demo(directory, "--wait", "--dir", str(kept))
    demos.append(demo)
    demo.wait_for("Enter alone, or Ctrl-C, ends all", _STORY_SECONDS)
    told = demo.output()
    assert _RINGS.findall(told) == ["DemeshCheckDown shop", "DemeshNodeSilent lab"]
    assert _ENDS.findall(told) == ["DemeshCheckDown shop", "DemeshNodeSilent lab"]
    assert re.search(r"partial +fra✔ lab✔ nyc✖", told), "a real status was shown"
    assert set(demo.nodes()) == {"fra", "nyc", "lab"}

    suggested = re.findall(r"^ +(\S*demesh .*--data-dir \S+)", told.partition("Now you")[2], re.MULTILINE)
    assert len(suggested) >= 4
    for line in suggested:
        words = [sys.executable, "-m", "demesh", *shlex.split(line)[1:]]
        if "-f" in words:
            words.remove("-f")
        ran = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert ran.returncode == 0, f"{line}: {ran.stdout}{ran.stderr}"
        assert ran.stdout

    demo.type("1")
    demo.wait_for("your phone rings: DemeshCheckDown shop", times=2)
    demo.type("0")
    demo.wait_for("resolved: DemeshCheckDown shop", times=2)
    demo.type("")
    assert demo.process.wait(15) == 0, demo.output()
    demo.gone_without_a_trace()
    assert (kept / "fra" / "log.db").exists()


@pytest.mark.parametrize(
    ("moment", "running", "sent"),
    [
        ("demesh demo: three nodes", 0, signal.SIGINT),
        ("agree that all is up", 3, signal.SIGTERM),
        ("mended", 3, signal.SIGINT),
    ],
)
def test_whoever_ends_it_early_is_left_with_nothing(
    moment: str, running: int, sent: signal.Signals, demos: list[Demo], directory: Path
) -> None:
    demo = Demo(directory)
    demos.append(demo)
    demo.wait_for(moment)
    assert len(demo.nodes()) >= running
    os.killpg(demo.process.pid, sent)  # as a terminal does
    assert demo.process.wait(15) == 0, demo.output()
    assert "Traceback" not in demo.output()
    demo.gone_without_a_trace()


def test_a_killed_demo_takes_its_nodes_along(demos: list[Demo], directory: Path) -> None:
    demo = Demo(directory)
    demos.append(demo)
    demo.wait_for("agree that all is up")
    assert len(demo.nodes()) == 3
    demo.process.kill()
    eventually(demo.nodes, lambda nodes: not nodes, 15, "its nodes have ended")


def test_what_was_not_to_happen_is_said_and_fails(demos: list[Demo], directory: Path) -> None:
    demo = Demo(directory)
    demos.append(demo)
    demo.wait_for("agree that all is up")
    os.kill(demo.nodes()["nyc"], signal.SIGKILL)
    assert demo.process.wait(60) == 1
    assert "nyc ended by itself, by signal 9" in demo.output()
    demo.gone_without_a_trace()
