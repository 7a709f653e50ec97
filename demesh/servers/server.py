"""One server of a list: what may stand for it, what it is checked as, and when two of them are the same.

A host here is lower-case ASCII (IDNA) without a final dot, or an address of the public Internet in its usual form. The rules
refuse what no public server has; no sentence repeats a value: in a row whose columns are shifted, any may be a password.
"""

import hashlib
import ipaddress
import re
import unicodedata
from dataclasses import dataclass, field

from demesh import limits
from demesh.address import address_text
from demesh.errors import UsageError
from demesh.probes.public import is_public

TRANSPORTS: dict[str, dict[str, tuple[str, int]]] = {
    "stun": {"udp": ("stun", 3478), "tcp": ("stun", 3478), "tls": ("stuns", 5349)},
    "turn": {"udp": ("turn", 3478), "tcp": ("turn", 3478), "tls": ("turns", 5349)},
    "mqtt": {"tcp": ("mqtt", 1883), "tls": ("mqtts", 8883)},
    "ntp": {"udp": ("ntp", 123)},
    "dns": {"udp": ("dns", 53)},
    "http": {"tcp": ("http", 80), "tls": ("https", 443)},
    "tcp": {"tcp": ("tcp", 0)},
    "tls": {"tls": ("tls", 443)},
}
"""Types of servers, and over what each is asked: the scheme of its target, and its usual port; 0: there is none."""

FAMILIES = ("4", "6", "")
WITH_LOGIN = frozenset(("turn", "mqtt", "http"))

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NOT_PUBLIC = frozenset(
    ("local", "localhost", "localdomain", "invalid", "test", "internal", "lan", "home", "arpa", "onion")
)
_HASHED = 8


@dataclass(frozen=True, slots=True)
class Login:
    """What a row tells besides the server: never shown."""

    user: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Server:
    """`family` is `4`, `6` or empty: whichever answers. `line` is that of its row."""

    type: str
    host: str
    port: int
    transport: str
    family: str = ""
    user: str = field(default="", repr=False)
    password_file: str = ""
    note: str = ""
    line: int = 0
    login: Login | None = None
    """What stood in a list of a form that has passwords in it."""

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """Equal for two rows that mean the same."""
        return (self.type, self.family, self.transport, self.host, self.port)

    @property
    def target(self) -> str:
        """As that of a check."""
        scheme, _ = TRANSPORTS[self.type][self.transport]
        address = address_text(self.host, self.port)
        if self.type == "dns":
            return f"{scheme}://{address}/."
        asked = self.type in ("stun", "turn") and self.transport == "tcp"
        return f"{scheme}://{address}{'?transport=tcp' if asked else ''}"

    @property
    def check_name(self) -> str:
        return self.named(self.type)

    def named(self, kind: str) -> str:
        """`stun stun.example.net:3478 udp v4`: no longer than a name may be, and different for different keys."""
        family = f" v{self.family}" if self.family else ""
        joint = " " if ":" in self.host else ":"  # no name has the brackets of an IPv6 address
        tail = f"{joint}{self.port} {self.transport}{family}"
        head = f"{kind} {self.host}"
        room = limits.NAME_CHARS_MAX - len(tail)
        if len(head) > room:
            digest = hashlib.blake2b(self.host.encode(), digest_size=_HASHED // 2).hexdigest()
            head = f"{head[: room - _HASHED - 1].rstrip('-.')}-{digest}"
        return head + tail


def read_port(text: str, usual: int = 0) -> int:
    """A port, or the usual one where there is none. Raises UsageError, a clause."""
    if not text and usual:
        return usual
    if not (text.isascii() and text.isdecimal()):
        raise UsageError("the port is no number; are the columns shifted?" if text else "the port is missing")
    if len(text) > 5 or not 1 <= int(text) <= 65_535:
        raise UsageError("the port must lie between 1 and 65535")
    return int(text)


def read_address(text: str, family: str) -> str:
    """The canonical form of a public address of that family. Raises UsageError, a clause."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise UsageError("a name, or something else, stands where an address belongs") from None
    if family and str(address.version) != family:
        raise UsageError(f"it is an IPv{address.version} address in a list of IPv{family}")
    if not is_public(text):
        raise UsageError("the address is no public one")
    return str(address)


def is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def read_name(text: str) -> str:
    """The canonical form of a host's name. Raises UsageError, a clause."""
    for char in text:
        if unicodedata.category(char) in ("Cf", "Cc", "Co", "Cs", "Cn") or (char.isspace() and char != " "):
            raise UsageError(f"the host has a character that cannot be seen (U+{ord(char):04X})")
    if "://" in text or "/" in text or "?" in text:
        raise UsageError("a URL stands where a host belongs")
    if "@" in text:
        raise UsageError("a login stands where a host belongs")
    if is_address(text):
        raise UsageError("an address stands where a name belongs")
    if ":" in text:
        raise UsageError("the host has a port of its own, or is no address that can be read")
    try:
        name = text.removesuffix(".").encode("idna").decode().lower()
    except UnicodeError:
        raise UsageError("the host is no name that can be looked up") from None
    labels = name.split(".")
    if len(name) > limits.HOST_CHARS_MAX:
        raise UsageError(f"the host is longer than {limits.HOST_CHARS_MAX} characters")
    if not all(map(_LABEL.fullmatch, labels)):
        raise UsageError("the host is no name that can be looked up")
    if labels[-1].isdecimal():
        raise UsageError("the host is a number, or an address that is none")
    if len(labels) < 2 or labels[-1] in _NOT_PUBLIC:
        raise UsageError("the host is no public name; are the columns shifted?")
    return name


def check_is_server(type_: str, host: str) -> None:
    """Raises UsageError, a clause, for what lists of this type name by mistake."""
    if type_ == "mqtt" and host.startswith("www."):
        raise UsageError("the host is that of a web page or console, not of a broker")
