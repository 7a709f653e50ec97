"""Where a node's settings come from, so that they can be taken anew while it runs: the files, with the command line over them.

`ConfigSource.load` either gives settings that are valid as a whole or raises, so whoever holds good ones keeps them.
"""

from pathlib import Path

from demesh.config.command_line import CommandLine
from demesh.config.load import Settings, load
from demesh.config.read import checks_directory, config_files, is_there
from demesh.config.tables import DefaultsTable
from demesh.errors import ConfigError


class ConfigSource:
    """The configuration whose main file is `path`, which may be missing unless it is `needed`.

    Once it was loaded it is needed: a file that is gone later was moved away for a moment, or by mistake, and nobody asked for
    an empty configuration.
    """

    def __init__(self, path: Path, command_line: CommandLine, *, needed: bool = True) -> None:
        self.path = path
        self._command_line = command_line
        self._needed = needed
        self._was_there = False
        self._named: frozenset[Path] = frozenset()

    def load(self) -> Settings:
        """Read everything anew. Raises UsageError: ConfigError, with every problem, for the files, else for the command line.

        Reads files, so it belongs in a thread while a node runs.
        """
        there = is_there(self.path)
        if self._was_there and not there:
            raise ConfigError([f"{self.path} is gone; the last good configuration stays until it is back."])
        loaded = load(self.path, texts=None if there or self._needed else {self.path: ""})
        self._named = frozenset(loaded.configuration.files.read)
        if loaded.settings is None:
            raise ConfigError(loaded.problems)
        self._was_there = there
        config = loaded.configuration.config
        return self._command_line.over(loaded.settings, config.defaults if config else DefaultsTable())

    def files(self) -> frozenset[Path]:
        """What the settings depend on: the files of the configuration as they are now, those that it named when it was
        loaded last, and the directory in which there may be more."""
        return self._named.union(config_files(self.path), [checks_directory(self.path)])
