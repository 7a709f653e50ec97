"""A direct sink as the configuration names it: a webhook, or whatever Apprise knows. Pure.

Its URL is a secret as a whole, since chat services have their tokens in the path and some even in the place of the host: what
is shown of a webhook is its scheme and host, of another its scheme alone. Nodes tell each other of it by a digest, keyed with
the mesh id.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from demesh.alerts.template import Template

WEBHOOK_SCHEMES = ("http", "https")
NO_SEVERITY = "none"
_NO_NEWS = (NO_SEVERITY, "info")
"""What nobody is woken for who has not asked for it."""


@dataclass(frozen=True, slots=True)
class Sink:
    """`name` is what people call it. `severities` are those it wants; none given: all but `info` and `none`."""

    url: str = field(repr=False)
    name: str
    severities: frozenset[str] = frozenset()
    send_resolved: bool = True
    repeat_every_ms: int | None = None
    title: Template | None = None
    body: Template | None = None
    token_file: Path | None = None

    @property
    def is_webhook(self) -> bool:
        return is_webhook(self.url)

    def wants(self, severity: str) -> bool:
        return severity in self.severities if self.severities else severity not in _NO_NEWS

    def digest(self, mesh_id: bytes) -> bytes:
        """What stands for it in plans and events."""
        return hashlib.blake2b(self.url.encode(), digest_size=16, key=mesh_id, person=b"demesh/sink/1").digest()


def is_webhook(url: str) -> bool:
    return url.partition(":")[0].lower() in WEBHOOK_SCHEMES


def shown_url(url: str) -> str:
    """As much of a URL for notifications as may be shown.

    >>> shown_url("https://me:secret@hooks.example.net:8443/services/T0/B0/secret?token=secret")
    'https://hooks.example.net:8443'
    >>> shown_url("tgram://123456:secret/chat")
    'tgram://…'
    """
    scheme = url.partition(":")[0].lower()
    if not is_webhook(url):
        return f"{scheme}://…"
    return f"{scheme}://{urlsplit(url).netloc.rpartition('@')[2]}"
