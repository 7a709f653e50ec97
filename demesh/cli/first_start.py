"""What a first start needs: the swarm key, which mesh it opens, and where to listen."""

import socket
from collections.abc import Callable

import trio
from nacl.signing import SigningKey

from demesh import limits
from demesh.cli.signals import end_when_asked
from demesh.config.load import Settings
from demesh.errors import UsageError
from demesh.home import Home, read_mesh_id
from demesh.identity import new_swarm_key, write_secret
from demesh.log.store import Store
from demesh.mesh.libp2p.host import Libp2pNetwork
from demesh.mesh.mesh_id import find_mesh_id
from demesh.swarm_key_files import SwarmKeyFiles, SwarmKeys

_PORT = 8471


def swarm_key_files(home: Home, settings: Settings) -> SwarmKeyFiles:
    """Where the mesh's swarm key is; it is made if this node founds a mesh. Raises UsageError."""
    files = SwarmKeyFiles(home, settings.swarm_key_file)
    if not files.elsewhere and not files.path.exists():
        if settings.peers:
            raise UsageError(
                f"There is no swarm key at {files.path}, and without the mesh's own nobody answers. Run `demesh invite` on a "
                "node of the mesh and give what it prints to `demesh join` here, or name a copy of its swarm key with "
                "--swarm-key-file."
            )
        if home.mesh_id.exists():
            raise UsageError(
                f"The swarm key {files.path} of this node is missing. Restore it, or name it with --swarm-key-file; or run "
                "`demesh invite` on a node of the mesh and `demesh join` here."
            )
        write_secret(files.path, new_swarm_key().text())
    return files


def mesh_id_of(
    home: Home, settings: Settings, key: SigningKey, swarm_keys: SwarmKeys, starting: Callable[[str], None]
) -> bytes:
    """The mesh id in the data directory. On a first start it is put there: that of the first peer, or, without peers, that of
    the mesh which the swarm key founds. `starting` is told while it waits for a peer. Raises DemeshError."""
    if home.mesh_id.exists():
        return read_mesh_id(home)
    if home.log_db.exists():
        with Store(home.log_db, readonly=True) as store:
            mesh_id = store.mesh_id()
    elif settings.peers:
        mesh_id = trio.run(_ask_for_mesh_id, settings, key, swarm_keys, starting)
    else:
        mesh_id = swarm_keys.current.first_mesh_id()
    write_secret(home.mesh_id, mesh_id.hex() + "\n")
    return mesh_id


def listening(settings: Settings) -> tuple[tuple[str, int], ...]:
    """Where to listen: as the configuration says, else at every address of this machine."""
    if not settings.listens:
        return ()
    return settings.listen or _everywhere()


def _everywhere() -> tuple[tuple[str, int], ...]:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return (("0.0.0.0", _PORT),)
    return (("0.0.0.0", _PORT), ("::", _PORT))


async def _ask_for_mesh_id(
    settings: Settings, key: SigningKey, swarm_keys: SwarmKeys, starting: Callable[[str], None]
) -> bytes:
    """Run a network for as long as it takes to learn of which mesh the peers are. Ends the process on SIGTERM and SIGINT."""
    network = Libp2pNetwork(bytes(key), swarm_keys.accepted, "", listening(settings))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_when_asked)
        nursery.start_soon(_say_that_it_waits, starting)
        found = await find_mesh_id(network, settings.peers, swarm_keys.current.first_mesh_id())
        nursery.cancel_scope.cancel()
    return found


async def _say_that_it_waits(starting: Callable[[str], None]) -> None:
    while True:
        starting("waiting for a peer that says of which mesh it is")
        await trio.sleep(limits.START_SIGN_SECONDS_MIN)
