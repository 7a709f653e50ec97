"""Who a node is and which mesh it belongs to: node key, peer id, swarm key, mesh id.

The node key is one Ed25519 key. It signs the node's entries (each signature names its purpose, see docs/protocol.md) and
is its libp2p identity, so a connection's peer id proves whose log comes first-hand. The swarm key is libp2p's private
network key in the file format of IPFS; it decides who may connect and signs nothing. The mesh id is what entries are
bound to: made from the first swarm key and kept, so that a new swarm key never invalidates what was signed.

Guarantees: secret files are created with mode 0600, as a whole or not at all, whatever ends us meanwhile, and never
overwritten. Not guaranteed: protection from other processes of the same user.
"""

import hashlib
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import base58
from nacl.signing import SigningKey

from demesh import limits
from demesh.disk import put_new, sync_directory
from demesh.errors import DemeshError, UsageError, of_file

_UNFINISHED = ".part"
_SWARM_KEY_HEADER = ("/key/swarm/psk/1.0.0/", "/base16/")
# A libp2p peer id of an Ed25519 key: identity multihash (0x00, 36 bytes) of the protobuf {type: Ed25519, data: key}.
# https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
_PEER_ID_PREFIX = bytes.fromhex("002408011220")


@dataclass(frozen=True, slots=True)
class SwarmKey:
    """The 32 secret bytes that let a node connect to its mesh."""

    psk: bytes

    def __repr__(self) -> str:
        return f"SwarmKey(fingerprint={self.fingerprint})"

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that tell two keys apart and reveal neither."""
        return self.digest.hex()

    @property
    def digest(self) -> bytes:
        """The fingerprint's eight bytes."""
        return hashlib.blake2b(self.psk, digest_size=8, person=b"demesh/swarm/1").digest()

    def first_mesh_id(self) -> bytes:
        """The 16-byte id of the mesh that this key founds."""
        return hashlib.blake2b(self.psk, digest_size=16, person=b"demesh/mesh/1").digest()

    def text(self) -> str:
        """The key file's content (multiformats' and IPFS' swarm.key form)."""
        return "\n".join((*_SWARM_KEY_HEADER, self.psk.hex())) + "\n"


def new_swarm_key() -> SwarmKey:
    return SwarmKey(secrets.token_bytes(32))


def read_swarm_key(path: Path) -> SwarmKey:
    """The key in a swarm key file.

    Raises UsageError when the file cannot be read or is not of the IPFS form; the message never quotes its content.
    """
    try:
        lines = path.read_text("ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read the swarm key {path}: {_reason(error)}.") from None
    if len(lines) != 3 or tuple(lines[:2]) != _SWARM_KEY_HEADER:
        raise UsageError(
            f"{path} is not a swarm key: it must hold three lines, {_SWARM_KEY_HEADER[0]} then {_SWARM_KEY_HEADER[1]} "
            "then 64 hex digits. `demesh swarm-key new` makes one."
        )
    try:
        psk = bytes.fromhex(lines[2])
    except ValueError:
        psk = b""
    if len(psk) != 32:
        raise UsageError(f"{path} is not a swarm key: its third line must be 64 hex digits (32 bytes).")
    return SwarmKey(psk)


def read_or_make_node_key(path: Path) -> SigningKey:
    """The node's Ed25519 key, made on first use. The file holds the 32-byte seed in hex."""
    if not path.exists():
        write_secret(path, secrets.token_hex(32) + "\n")
    try:
        seed = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        raise UsageError(f"Cannot read the node key {path}: {_reason(error)}.") from None
    if len(seed) != 32:
        raise UsageError(
            f"{path} is not a node key: it must hold 64 hex digits. Restore it from a backup, or delete it to become a "
            "new member."
        )
    return SigningKey(seed)


@lru_cache(limits.PEER_IDS_REMEMBERED)
def peer_id(public_key: bytes) -> str:
    """The libp2p peer id (base58, `12D3KooW…`) of an Ed25519 public key of 32 bytes.

    Remembered, as every answer names all members by it."""
    return base58.b58encode(_PEER_ID_PREFIX + public_key).decode("ascii")


def public_key_of(text: str) -> bytes:
    """The Ed25519 public key (32 bytes) in a peer id. Raises UsageError if it holds none."""
    try:
        raw = base58.b58decode(text)
    except ValueError:
        raw = b""
    if not raw.startswith(_PEER_ID_PREFIX) or len(raw) != len(_PEER_ID_PREFIX) + 32:
        raise UsageError(
            f"{text!r} is not the peer id of an Ed25519 key; one begins with 12D3KooW (`demesh node id` prints yours)."
        )
    return raw[len(_PEER_ID_PREFIX) :]


def write_secret(path: Path, text: str) -> None:
    """Create `path` with mode 0600, durably and as a whole or not at all. Raises UsageError if it exists, as a secret is never
    overwritten, or cannot be; DemeshError if that may pass, as a full disk may."""
    make_private_directory(path.parent)
    try:
        if os.path.lexists(path):
            raise FileExistsError
        with _written_beside(path, text) as temporary:
            put_new(temporary, path)
            sync_directory(path.parent)
    except FileExistsError:
        raise UsageError(f"{path} exists and is not overwritten.") from None
    except OSError as error:
        raise _failure(f"Cannot create {path}", error) from None


def replace_secret(path: Path, text: str) -> None:
    """Make `path` hold `text`, with mode 0600, durably and as a whole or not at all. Raises UsageError, or DemeshError if what
    is in the way may pass, as a full disk may."""
    make_private_directory(path.parent)
    try:
        with _written_beside(path, text) as temporary:
            temporary.replace(path)
            sync_directory(path.parent)
    except OSError as error:
        raise _failure(f"Cannot write {path}", error) from None


def remove_leftovers(directory: Path, wall_ms: int) -> None:
    """Take away the copies of secrets that a killed command has left, but none that may still be written."""
    for path in directory.glob(f".*.{'[0-9a-f]' * 8}{_UNFINISHED}"):
        with suppress(OSError):
            if path.lstat().st_mtime * 1_000 < wall_ms - limits.LEFTOVER_AGE_MS_MIN:
                path.unlink()


def make_private_directory(path: Path) -> None:
    """Have the directory `path`, mode 0700 if it is made. Raises like `write_secret`."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _failure(f"Cannot make the directory {path}", error) from None


@contextmanager
def _written_beside(path: Path, text: str) -> Generator[Path]:
    """A file with that text, mode 0600, on the disk; afterwards it is gone by its own name. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_UNFINISHED}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _failure(what: str, error: OSError) -> DemeshError:
    return of_file(error, f"{what}: {_reason(error)}.")


def _reason(error: Exception) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "it is not plain hexadecimal text"
