"""Where the swarm key of a node is, for commands that need it beside the node, which may have it from elsewhere."""

from contextlib import suppress
from pathlib import Path

from demesh.errors import DemeshError, UsageError
from demesh.home import Home, running_node
from demesh.swarm_key_files import SwarmKeyFiles, SwarmKeys


def find_swarm_key(home: Home, named: str | None, configured: Path | None) -> SwarmKeyFiles:
    """By what was named for this command, or else what the running node says, what the configuration names, the data directory.

    Raises UsageError.
    """
    running = None if named else running_node(home)
    elsewhere = named or (running.swarm_key_file if running else None)
    return SwarmKeyFiles(home, Path(elsewhere) if elsewhere else configured)


def configured_swarm_key(home: Home) -> Path | None:
    """What the configuration names; None also if that is bad, which is not what backups and fingerprints are about."""
    if not home.config.exists():
        return None
    from demesh.config.load import read_settings  # pydantic is slow to load

    with suppress(DemeshError):
        return read_settings(home.config).swarm_key_file
    return None


def read_swarm_keys(files: SwarmKeyFiles) -> SwarmKeys:
    """Raises UsageError with what to do where there is none."""
    if not files.path.exists():
        raise UsageError(
            f"There is no swarm key at {files.path}. If the node has it from elsewhere, start the node, which says where, or "
            "name that file: --swarm-key-file FILE (DEMESH_SWARM_KEY_FILE)."
        )
    return files.read()
