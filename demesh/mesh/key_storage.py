"""The swarm key's files for running tasks. What they keep, and how they survive a kill, is in `demesh.swarm_key_files`."""

from pathlib import Path
from typing import Protocol

import trio

from demesh.mesh.key_change import Change
from demesh.swarm_key_files import SwarmKeyFiles, SwarmKeys


class KeyStorage(Protocol):
    """What is needed of them. Both methods raise DemeshError."""

    path: Path
    elsewhere: bool

    async def save(self, change: Change) -> None: ...

    async def finish(self, change: Change) -> SwarmKeys: ...


class ThreadKeyStorage:
    """The files, written in a thread."""

    def __init__(self, files: SwarmKeyFiles) -> None:
        self._files = files
        self.path = files.path
        self.elsewhere = files.elsewhere

    async def save(self, change: Change) -> None:
        await trio.to_thread.run_sync(self._files.save, change)

    async def finish(self, change: Change) -> SwarmKeys:
        return await trio.to_thread.run_sync(self._files.finish, change)
