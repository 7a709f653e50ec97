"""A change of the configuration is noticed, however it came about."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from demesh.config.command_line import CommandLine
from demesh.config.load import Settings
from demesh.config.source import ConfigSource
from demesh.config.watch import LOOK_SECONDS, fingerprint, load_first, load_whole, watch
from tests.config.files import written

_Noticed = Callable[[], Awaitable[None]]


@asynccontextmanager
async def _watched(source: ConfigSource, seconds: float = LOOK_SECONDS - 1) -> AsyncGenerator[_Noticed]:
    """What it gives waits until a change is noticed, which must be within `seconds`: sooner than by looking now and then."""
    send, receive = trio.open_memory_channel[None](100)

    async def noticed() -> None:
        with trio.fail_after(seconds):
            await receive.receive()
        await wait_all_tasks_blocked(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, source.files, lambda: send.send(None), fingerprint(source.files))
        await wait_all_tasks_blocked(0.1)  # until it waits for the system to tell
        yield noticed
        nursery.cancel_scope.cancel()


def _in_place(path: Path) -> None:
    with path.open("a") as file:
        file.write("# more\n")


def _renamed_over(path: Path) -> None:
    other = path.with_name("new")
    other.write_text("# new\n")
    other.replace(path)


def _removed(path: Path) -> None:
    path.unlink()


def _another_file(path: Path) -> None:
    (path.parent / "checks/other.toml").write_text("")


def _a_secret(path: Path) -> None:
    path.with_name("secret").write_text("another")


def _no_directory(path: Path) -> None:
    (path.parent / "checks/more.toml").unlink()
    (path.parent / "checks").rmdir()


@pytest.mark.parametrize("change", [_in_place, _renamed_over, _removed, _another_file, _a_secret, _no_directory])
def test_a_change_is_noticed(change: Callable[[Path], None], tmp_path: Path) -> None:
    path = written(tmp_path, main='[api]\ntoken_file = "secret"\n', more="")
    (tmp_path / "secret").write_text("one")

    async def main() -> None:
        source = ConfigSource(path, CommandLine())
        source.load()
        async with _watched(source) as noticed:
            change(path)
            await noticed()

    trio.run(main)


def test_a_directory_of_checks_that_is_made_later_is_watched_from_then_on(tmp_path: Path) -> None:
    path = written(tmp_path, main="")

    async def main() -> None:
        async with _watched(ConfigSource(path, CommandLine())) as noticed:
            (tmp_path / "checks").mkdir()
            await noticed()
            written(tmp_path, more="")
            await noticed()
            _in_place(tmp_path / "checks/more.toml")
            await noticed()

    trio.run(main)


def test_a_link_that_points_elsewhere_is_noticed(tmp_path: Path) -> None:
    """As Kubernetes replaces what it mounts: the file is a link into a link, and the inner one is renamed over."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "demesh.toml").write_text("")
    (tmp_path / "data").symlink_to("1")
    (tmp_path / "demesh.toml").symlink_to("data/demesh.toml")

    async def main() -> None:
        async with _watched(ConfigSource(tmp_path / "demesh.toml", CommandLine())) as noticed:
            (tmp_path / "new").symlink_to("2")
            (tmp_path / "new").replace(tmp_path / "data")
            await noticed()

    trio.run(main)


def test_what_else_happens_in_the_directory_is_no_change(tmp_path: Path) -> None:
    path = written(tmp_path, main="")

    async def main() -> None:
        async with _watched(ConfigSource(path, CommandLine())) as noticed:
            for number in range(20):
                (tmp_path / "log.db-wal").write_text(str(number))
            with pytest.raises(trio.TooSlowError), trio.fail_after(1):
                await noticed()

    trio.run(main)


def test_a_file_is_whole_when_its_change_is_told(tmp_path: Path) -> None:
    """Also where it is emptied while the change before it is being dealt with: to be read at once it would have to be whole."""
    path = written(tmp_path, main="")
    told: list[str] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def write_slowly() -> None:
                await trio.sleep(0.1)
                path.write_text("# whole\n")

            async def changed() -> None:
                told.append(path.read_text())
                if len(told) > 1:
                    nursery.cancel_scope.cancel()
                path.write_text("")
                nursery.start_soon(write_slowly)

            with trio.fail_after(4 * LOOK_SECONDS):
                files = ConfigSource(path, CommandLine()).files
                nursery.start_soon(watch, files, changed, fingerprint(files))
                await wait_all_tasks_blocked(0.1)
                path.write_text("# first\n")
                await trio.sleep_forever()

    trio.run(main)
    assert told == ["# first\n", "# whole\n"]


def _names(settings: Settings) -> list[str]:
    return [check.name for check in settings.checks]


@pytest.mark.trio
async def test_what_changes_after_it_was_read_is_noticed_however_long_a_start_takes(tmp_path: Path) -> None:
    """The files are read first, then a store is opened, which may take minutes; only then is there a loop that watches."""
    path = written(tmp_path, main="", web="")
    source = ConfigSource(path, CommandLine())
    for change in (_in_place, _renamed_over, _another_file):
        _, known = load_first(source)
        change(path)
        noticed = trio.Event()

        async def changed(noticed: trio.Event = noticed) -> None:
            noticed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, source.files, changed, known)
            with trio.fail_after(LOOK_SECONDS - 1):
                await noticed.wait()
            nursery.cancel_scope.cancel()


def test_what_is_read_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path, main="")

    async def write_slowly() -> None:
        for text in ('[[check]]\nname = "one"\n', 'target = "tcp://192.0.2.1:1"\n'):
            await trio.sleep(0.1)
            with path.open("a") as file:
                file.write(text)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_slowly)
            with trio.fail_after(LOOK_SECONDS):
                assert _names(await load_whole(ConfigSource(path, CommandLine()))) == ["one"]

    trio.run(main)


@pytest.mark.parametrize("before", ["", "[[check]\n"])
def test_what_changes_while_it_is_read_is_read_anew(before: str, tmp_path: Path) -> None:
    path = written(tmp_path, main=before)

    class Overtaken(ConfigSource):
        loads = 0

        def load(self) -> Settings:
            self.loads += 1
            try:
                return super().load()
            finally:
                if self.loads == 1:
                    path.write_text('[[check]]\nname = "one"\ntarget = "tcp://192.0.2.1:1"\n')

    async def main() -> None:
        source = Overtaken(path, CommandLine())
        with trio.fail_after(LOOK_SECONDS):
            assert _names(await load_whole(source)) == ["one"]
        assert source.loads == 2

    trio.run(main)


def test_it_ends_when_it_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, main="")
    monkeypatch.setattr("demesh.config.watch.LOOK_SECONDS", 60)  # or it would end by itself

    async def main() -> None:
        with trio.fail_after(10):
            async with _watched(ConfigSource(path, CommandLine())):
                pass

    trio.run(main)


@pytest.mark.slow
def test_without_a_system_that_tells_of_changes_it_looks_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, main="")

    def none_left(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("demesh.config.watch.RustNotify", none_left)

    async def main() -> None:
        async with _watched(ConfigSource(path, CommandLine()), 2 * LOOK_SECONDS) as noticed:
            _in_place(path)
            await noticed()

    trio.run(main)
