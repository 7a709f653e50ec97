"""Writes a unit where systemd looks for it; one that somebody has changed stays as it is."""

import os
from pathlib import Path

from demesh.errors import UsageError
from demesh.systemd.unit import NAME, is_untouched

SYSTEM_UNITS = Path("/etc/systemd/system")


def users_units() -> Path:
    """Where a user's own units are."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser().absolute() / "systemd/user"


def read_unit(directory: Path) -> str | None:
    """The unit that is there; None if there is none. Raises UsageError."""
    path = directory / NAME
    try:
        return path.read_text() if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read {path}: {getattr(error, 'strerror', None) or 'it is no text'}.") from None


def write_unit(directory: Path, text: str, *, force: bool) -> tuple[Path, bool]:
    """Write the unit into `directory`; returns its path, and whether anything had to be written. Raises UsageError."""
    path, before = directory / NAME, read_unit(directory)
    if before == text:
        return path, False
    if before is not None and not is_untouched(before) and not force:
        raise UsageError(
            f"{path} was changed by somebody, and is left as it is. Move the changes into a drop-in (systemctl edit demesh), "
            "then overwrite it with --force. `demesh install-unit --print` shows what would be written."
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{NAME}.new")
        temporary.write_text(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror}.") from None
    return path, True
