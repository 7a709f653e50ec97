"""Tokens of the API: who bears one may read, or also change, from elsewhere than this machine.

Guarantees: a token is 32 random bytes, shown once, when it is made; what is kept is its SHA-256, in `tokens.json` of the data
directory with mode 0600, replaced as a whole. (A slow hash is for passwords, which can be guessed; 2^256 cannot.) Of changes at
the same time each comes after another (`demesh.disk.changing`), so none is lost. A node takes up a token that was made or
revoked while it runs, with the next request. Tokens are compared in constant time.

    [{"name": "grafana", "scope": "read", "sha256": "…64 hex digits…", "made_at": "2026-01-31T12:00:00Z"}]
"""

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, cast

from demesh import limits
from demesh.disk import changing
from demesh.errors import UsageError
from demesh.identity import make_private_directory, replace_secret

_PREFIX = "demesh_"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Scope(IntEnum):
    """What a token allows; each includes those before it."""

    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept."""

    name: str
    scope: Scope
    sha256: str
    made_at: str

    def told(self) -> dict[str, str]:
        """What may be shown of it."""
        return {"name": self.name, "scope": self.scope.name.lower(), "made_at": self.made_at}


class Tokens:
    """The tokens of one data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Token]:
        """In the order in which they were made. Raises UsageError if the file cannot be read or understood."""
        try:
            if self._path.stat().st_size > limits.TOKENS_BYTES_MAX:
                raise ValueError
            said = cast(list[dict[str, str]], json.loads(self._path.read_bytes()))
            if not all(_SHA256.fullmatch(each["sha256"]) for each in said):
                raise ValueError
            return [Token(each["name"], Scope[each["scope"].upper()], each["sha256"], each["made_at"]) for each in said]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UsageError(f"Cannot read the tokens {self._path}: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UsageError(f"{self._path} holds no tokens: it is damaged. Remove it, then make them anew.") from None

    @contextmanager
    def changing(self) -> Generator[None]:
        """Hold off who else would make or revoke one. Raises UsageError, DemeshError."""
        make_private_directory(self._path.parent)  # it is what is locked
        with changing(self._path.parent):
            yield

    def make(self, name: str, scope: Scope, wall_ms: int, text: str | None = None) -> str:
        """Keep a new token and return it; `text` is one that other nodes know already. Raises UsageError, DemeshError."""
        with self.changing():
            return self._make(name, scope, wall_ms, text or _PREFIX + secrets.token_urlsafe(32))

    def _make(self, name: str, scope: Scope, wall_ms: int, text: str) -> str:
        tokens = self.all()
        if any(each.name == name for each in tokens):
            raise UsageError(f"There is a token named {name!r}; give this one another --name, or revoke that one.")
        if len(tokens) >= limits.TOKENS_MAX:
            raise UsageError(f"There are {limits.TOKENS_MAX} tokens, and no more are kept; revoke some.")
        digest = _sha256(text)
        if known := next((each.name for each in tokens if hmac.compare_digest(each.sha256, digest)), None):
            raise UsageError(f"This node knows that token already, as {known!r}.")
        made_at = datetime.fromtimestamp(wall_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._write([*tokens, Token(name, scope, digest, made_at)])
        return text

    def revoke(self, name: str) -> None:
        """Raises UsageError if there is no such token, and DemeshError."""
        with changing(self._path.parent):
            tokens = self.all()
            kept = [each for each in tokens if each.name != name]
            if len(kept) == len(tokens):
                names = ", ".join(each.name for each in tokens) or "there are none"
                raise UsageError(f"There is no token named {name!r} ({names}).")
            self._write(kept)

    def _write(self, tokens: list[Token]) -> None:
        said: list[dict[str, Any]] = [{**asdict(each), "scope": each.scope.name.lower()} for each in tokens]
        replace_secret(self._path, json.dumps(said, indent=1) + "\n")


class TokenCheck:
    """What a running node asks: the tokens of its data directory, and those in files of their own if any are configured."""

    def __init__(self, tokens: Path, may_write: Path | None, may_read: Path | None = None) -> None:
        """Raises UsageError if any cannot be used."""
        given = ((may_read, Scope.READ), (may_write, Scope.WRITE))
        self._tokens = tokens
        self._files = [(path, scope) for path, scope in given if path]
        self._paths = [tokens, *(path for path, _ in self._files)]
        self._seen: list[tuple[int, ...] | None] = []
        self._known: list[tuple[str, Scope]] = []
        self._load()

    @property
    def empty(self) -> bool:
        return not self._known

    def scope_of(self, text: str) -> Scope | None:
        """What `text` allows now; None if it is no token. A file that was damaged since allows nothing."""
        if self._seen != [_state(path) for path in self._paths]:
            try:
                self._load()
            except UsageError:
                self._known = []
        digest, found = _sha256(text), None
        for known, scope in self._known:  # all of them, whatever is found: time shall tell nothing
            if hmac.compare_digest(known, digest):
                found = scope
        return found

    def _load(self) -> None:
        self._seen = [_state(path) for path in self._paths]
        known = [(each.sha256, each.scope) for each in Tokens(self._tokens).all()]
        known += [(_sha256(read_token_file(path)), scope) for path, scope in self._files]
        self._known = known


def read_token_file(path: Path) -> str:
    """The token in a file of its own. Raises UsageError, which does not quote it."""
    try:
        with path.open("rb") as file:
            text = file.read(limits.TOKENS_BYTES_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        raise UsageError(f"Cannot read the token in {path}: {reason}.") from None
    if len(text) < limits.TOKEN_CHARS_MIN or any(char.isspace() for char in text):
        raise UsageError(
            f"{path} must hold one token of {limits.TOKEN_CHARS_MIN} characters or more, without white space. "
            "`openssl rand -hex 32` makes one."
        )
    return text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _state(path: Path) -> tuple[int, ...] | None:
    """What changes when a file does."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
