"""The swarm key on the disk, and the change that replaces it.

    swarm.key            the key in force, in IPFS' form
    swarm.key.change     the change of `demesh.mesh.key_change` that is under way, with the new key, or the last one; in hex

Guaranteed: at every moment a killed node finds what it needs to connect: the new key is on the disk before anybody is told
that this node has it, and the old one is replaced, as a whole, by a key that every member on the list was offered. Both
files have mode 0600.

A swarm key that lies elsewhere (`swarm_key_file`) belongs to somebody else and is not written: then the new key stays in
`swarm.key.change`, and wins, until the file holds it too.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from demesh.disk import sync_directory
from demesh.errors import EntryError, UsageError
from demesh.home import Home
from demesh.identity import SwarmKey, read_swarm_key, replace_secret
from demesh.mesh.key_change import Change, decode_change, encode_change


@dataclass(frozen=True, slots=True)
class SwarmKeys:
    """The key in force and the change under way, if any.

    `settled`: the key came by a change that is known to be finished. `overruled`: the file still holds the key before.
    """

    current: SwarmKey
    change: Change | None = None
    settled: bool = False
    overruled: bool = False

    @property
    def newest(self) -> SwarmKey:
        return self.change.key if self.change else self.current

    @property
    def accepted(self) -> tuple[SwarmKey, ...]:
        """What peers may connect with, the newest first, which is also the order in which to try them."""
        return (self.change.key, self.current) if self.change else (self.current,)


class SwarmKeyFiles:
    """Those of one home; `elsewhere` is the file that the configuration names, if it names one."""

    def __init__(self, home: Home, elsewhere: Path | None) -> None:
        own = elsewhere is None or elsewhere.resolve() == home.swarm_key.resolve()
        self.path = home.swarm_key if own or elsewhere is None else elsewhere
        self.change = home.swarm_key_change
        self.elsewhere = not own

    def read(self) -> SwarmKeys:
        """Changes nothing. Raises UsageError."""
        current = read_swarm_key(self.path)
        change = self._read_change()
        if change and change.key == current and change.finished:
            return SwarmKeys(current, settled=True)
        if change is None or change.old != current.digest:
            return SwarmKeys(current)  # another key than the one to be replaced was put there by hand: it counts
        if change.finished:
            return SwarmKeys(change.key, settled=True, overruled=True)
        return SwarmKeys(current, change)

    def open(self) -> SwarmKeys:
        """Like `read`; what a kill interrupted is brought to its end."""
        keys = self.read()
        if keys.overruled and not self.elsewhere:
            replace_secret(self.path, keys.current.text())
            return replace(keys, overruled=False)
        if keys.change is None and not keys.settled:
            self._drop_change()
        return keys

    def save(self, change: Change) -> None:
        """Have the change on the disk. Raises DemeshError."""
        replace_secret(self.change, encode_change(change).hex() + "\n")

    def finish(self, change: Change) -> SwarmKeys:
        """Go over to the new key. Raises DemeshError."""
        self.save(replace(change, finished=True))
        if not self.elsewhere:
            replace_secret(self.path, change.key.text())
        return SwarmKeys(change.key, settled=True, overruled=self.elsewhere)

    def put(self, key: SwarmKey) -> None:
        """Make `key` the one in force, whatever there was. Raises DemeshError."""
        replace_secret(self.path, key.text())
        self._drop_change()

    def _read_change(self) -> Change | None:
        try:
            return decode_change(bytes.fromhex(self.change.read_text("ascii").strip()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EntryError):
            raise UsageError(
                f"{self.change}, of the swarm key that the mesh changes to, cannot be read. Move it away; if this node is "
                "then a stranger to the others, take a new `demesh invite` from one of them."
            ) from None

    def _drop_change(self) -> None:
        try:
            self.change.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UsageError(f"Cannot remove {self.change}: {error.strerror}.") from None
        sync_directory(self.change.parent)
