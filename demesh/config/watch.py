"""Watches the files that a node's settings come from.

Guarantees: a change is noticed however the file was replaced (written in place, renamed over, or by a symbolic link that
points elsewhere since), at once as a rule and within LOOK_SECONDS where the system does not tell (network mounts, no watches
left); changes that follow each other closely are one. Not guaranteed: that what the files say has changed.

Who reads them meanwhile (`load_whole`) reads no file that is being written in place, unless its writer pauses for longer than
SETTLED_SECONDS. What is emptied to be written anew would be a configuration without checks.
"""

import os
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import trio
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError  # as its documentation has it

from demesh import limits
from demesh.config.load import Settings
from demesh.config.source import ConfigSource
from demesh.errors import UsageError

LOOK_SECONDS = 5
SETTLED_SECONDS = 0.25  # changes within this time are one
_STEP_MS = int(SETTLED_SECONDS * 1_000)  # it is also how long the waiting thread may take to end
_GATHER_MS = 2_000  # but no longer than this

Fingerprint = dict[Path, tuple[int, int, int] | None]
"""What is different for each path once it was changed or replaced."""


async def watch(
    files: Callable[[], Collection[Path]],
    changed: Callable[[], Awaitable[None]],
    known: Fingerprint,
) -> None:
    """Await `changed` after each change of `files()` as they were when they were `known`: files and directories, which may be
    missing. Runs until cancelled. `files` is called in a thread. What changes while `changed` runs is another change.
    """
    while True:
        try:
            with _notifier(known) as notifier:
                while (now := await _fingerprint(files)) == known:
                    await _something(notifier)
        except (OSError, WatchfilesRustInternalError):  # a directory has gone, or the system has no watches left
            await trio.sleep(LOOK_SECONDS)
            now = await _fingerprint(files)
        if now != known:
            with trio.move_on_after(limits.CONFIG_SETTLE_SECONDS_MAX):
                now = await _settled(files)
            known = now
            await changed()


def load_first(source: ConfigSource) -> tuple[Settings, Fingerprint]:
    """`source.load`, and what its files were then: what changes from now on, however long a start takes, is a change to
    `watch`. Raises UsageError."""
    before = fingerprint(source.files)
    settings = source.load()
    return settings, {**fingerprint(source.files), **before}


async def load_whole(source: ConfigSource, limiter: trio.CapacityLimiter | None = None) -> Settings:
    """`source.load` of files that nobody writes to meanwhile. Lasts as long as somebody does. Raises UsageError.

    Looks and reads in threads of `limiter`; they are given up when this is cancelled.
    """
    while True:
        before = await _settled(source.files, limiter)
        try:
            loaded = await trio.to_thread.run_sync(source.load, abandon_on_cancel=True, limiter=limiter)
        except UsageError as error:
            loaded = error
        if await _fingerprint(source.files, limiter) != before:
            continue
        if isinstance(loaded, UsageError):
            raise loaded
        return loaded


async def _settled(files: Callable[[], Collection[Path]], limiter: trio.CapacityLimiter | None = None) -> Fingerprint:
    """What the files are, once they have been the same for SETTLED_SECONDS."""
    now = await _fingerprint(files, limiter)
    while True:
        await trio.sleep(SETTLED_SECONDS)
        before, now = now, await _fingerprint(files, limiter)
        if now == before:
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


async def _fingerprint(
    files: Callable[[], Collection[Path]], limiter: trio.CapacityLimiter | None = None
) -> Fingerprint:
    """Not waited for any longer than whoever asks: a file system may not answer."""
    return await trio.to_thread.run_sync(fingerprint, files, abandon_on_cancel=True, limiter=limiter)


def fingerprint(files: Callable[[], Collection[Path]]) -> Fingerprint:
    return {path: _state(path) for path in files()}


def _state(path: Path) -> tuple[int, int, int] | None:
    """What is different once a file or a directory was changed or replaced; None while there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
