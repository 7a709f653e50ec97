"""Watches the files that a node's settings come from.

Guarantees: a change is noticed however the file was replaced (written in place, renamed over, or by a symbolic link that
points elsewhere since), at once as a rule and within LOOK_SECONDS where the system does not tell (network mounts, no watches
left); changes that follow each other closely are one, so that a file that is being written in place is not read before it is
whole. Not guaranteed: that it is where its writer pauses for longer than _STEP_MS; that what the files say has changed.
"""

import os
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import trio
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError  # as its documentation has it

LOOK_SECONDS = 5
_STEP_MS = 250  # changes within this time are one; it is also how long the waiting thread may take to end
_GATHER_MS = 2_000  # but no longer than this

_Fingerprint = dict[Path, tuple[int, int, int] | None]


async def watch(
    files: Callable[[], Collection[Path]],
    changed: Callable[[], Awaitable[None]],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Await `changed` after each change of `files()`: files and directories, which may be missing. Runs until cancelled.

    Has started (`nursery.start`) when no later change can be missed. `files` is called in a thread. What changes while
    `changed` runs is another change.
    """
    known = await _fingerprint(files)
    task_status.started()
    while True:
        try:
            with _notifier(known) as notifier:
                while (now := await _fingerprint(files)) == known:
                    await _something(notifier)
        except (OSError, WatchfilesRustInternalError):  # a directory has gone, or the system has no watches left
            await trio.sleep(LOOK_SECONDS)
            now = await _fingerprint(files)
        if now != known:
            known = await _settled(files, now)
            await changed()


async def _settled(files: Callable[[], Collection[Path]], now: _Fingerprint) -> _Fingerprint:
    """What the files are once nothing has changed for _STEP_MS, or after _GATHER_MS."""
    with trio.move_on_after(_GATHER_MS / 1_000):
        while True:
            await trio.sleep(_STEP_MS / 1_000)
            before, now = now, await _fingerprint(files)
            if now == before:
                break
    return now


def _notifier(paths: Collection[Path]) -> RustNotify:
    """Takes note, from now on, of what happens in the directories of `paths`. Raises OSError, WatchfilesRustInternalError."""
    directories = {str(each) for path in paths for each in (path, path.parent) if each.is_dir()}
    return RustNotify(sorted(directories), False, False, 0, False, True)


async def _something(notifier: RustNotify) -> None:
    """Return when something has happened, after LOOK_SECONDS at the latest."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_set_when_cancelled, stop)
        await trio.to_thread.run_sync(notifier.watch, _GATHER_MS, _STEP_MS, LOOK_SECONDS * 1_000, stop)
        nursery.cancel_scope.cancel()


async def _set_when_cancelled(stop: trio.Event) -> None:
    """The thread in which watchfiles waits cannot be cancelled, only asked to end."""
    try:
        await trio.sleep_forever()
    finally:
        stop.set()


async def _fingerprint(files: Callable[[], Collection[Path]]) -> _Fingerprint:
    """Not waited for any longer than whoever asks: a file system may not answer."""
    return await trio.to_thread.run_sync(lambda: {path: _state(path) for path in files()}, abandon_on_cancel=True)


def _state(path: Path) -> tuple[int, int, int] | None:
    """What is different once a file or a directory was changed or replaced; None while there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
