"""What a configuration takes from elsewhere: `${NAME}` from the environment, `*_file` from files.

Guarantees: what was read is in no error; a file is read once, is a regular one, and is bounded.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from demesh import limits
from demesh.config.lines import Path as Place

_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{")
_CREDENTIALS = "CREDENTIALS_DIRECTORY"


class Unfilled(Exception):
    """A `${…}` that cannot be filled, or a file that cannot be read. The message is a clause without a full stop."""


def references(text: str) -> list[str]:
    """What in `text` comes from the environment: `["${NAME}"]`."""
    return [match[0] for match in _REFERENCE.finditer(text) if match[1]]


def filled(text: str, environment: Mapping[str, str]) -> str:
    """`text` with each `${NAME}` replaced, and each `$${` by `${`. Raises Unfilled."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            raise Unfilled("after ${ comes the name of an environment variable and }; write $${ for a plain ${")
        if match[1] == _CREDENTIALS and match[1] not in environment:
            raise Unfilled(
                f"{_CREDENTIALS} is not set; systemd sets it for the service only. Elsewhere set it to what the service has, as "
                "/run/credentials/demesh.service, and be root or the service's user"
            )
        if match[1] not in environment:
            raise Unfilled(f"the environment variable {match[1]} is not set")
        try:
            environment[match[1]].encode()
        except UnicodeEncodeError:
            raise Unfilled(f"the environment variable {match[1]} is not UTF-8 text") from None
        return environment[match[1]]

    return _REFERENCE.sub(value, text)


class Filling:
    """One file's content with its references filled. `problems` are those that could not be: they stand there unfilled."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: dict[Place, str] = {}

    def fill(self, value: Any, place: Place = ()) -> Any:
        """A copy of `value`, which stands at `place`."""
        if isinstance(value, str):
            if "${" not in value:
                return value
            try:
                return filled(value, self._environment)
            except Unfilled as problem:
                self.problems[place] = str(problem)
                return value
        if isinstance(value, list):
            return [self.fill(each, (*place, index)) for index, each in enumerate(cast(list[Any], value))]
        if isinstance(value, dict):
            return {key: self.fill(each, (*place, key)) for key, each in cast(dict[str, Any], value).items()}
        return value


class Files:
    """The files that a configuration names, relative to the directory `base`; `read` are those that were asked for."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._contents: dict[tuple[Path, int], bytes] = {}

    @property
    def read(self) -> set[Path]:
        return {path for path, _ in self._contents}

    def path(self, name: str) -> Path:
        return self._base / name

    def content(self, name: str, bytes_max: int) -> bytes:
        """The bytes of a file. Raises Unfilled."""
        path = self.path(name)
        if (path, bytes_max) not in self._contents:
            self._contents[path, bytes_max] = _read(path, bytes_max)
        return self._contents[path, bytes_max]

    def secret(self, name: str, bytes_max: int) -> str:
        """The text of a file without the end of its last line. Raises Unfilled."""
        try:
            text = self.content(name, bytes_max).decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise Unfilled(f"{self.path(name)} is not UTF-8 text") from None
        if not text or any(char in text for char in "\r\n\0"):
            raise Unfilled(f"{self.path(name)} must hold one line of text")
        return text

    def token(self, name: str) -> str:
        """The token in a file, as it stands behind `Authorization: Bearer`. Raises Unfilled, which does not quote it."""
        text = self.secret(name, limits.SECRET_FILE_BYTES_MAX)
        if not all("!" <= char <= "~" for char in text):
            raise Unfilled(f"{self.path(name)} must hold a token: letters, digits and signs, without white space")
        return text


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        # Without O_NONBLOCK, opening a pipe waits for somebody to write into it.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Unfilled(f"{path} is not a regular file")
            content = file.read(bytes_max + 1)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero character
        raise Unfilled(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no file name'}") from None
    if len(content) > bytes_max:
        raise Unfilled(f"{path} is larger than {bytes_max} bytes")
    return content


def depth_of(value: Any, most: int) -> int:
    """How many arrays and tables `value` has in each other, looked at to one more than `most`."""

    def inner() -> Iterator[Any]:
        if isinstance(value, dict):
            yield from cast(dict[str, Any], value).values()
        elif isinstance(value, list):
            yield from cast(list[Any], value)

    if most < 0 or not isinstance(value, dict | list):
        return 0
    return 1 + max((depth_of(each, most - 1) for each in inner()), default=0)
