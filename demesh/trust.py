"""Which certificate authorities are believed.

The libcurl inside pycurl's wheels is built elsewhere, and the paths compiled into it may not exist on this machine. So
the bundle is looked for here: SSL_CERT_FILE, then where distributions keep theirs, then certifi's if it is installed.
A SSL_CERT_FILE that names no file is used all the same and fails: whoever narrows trust must not silently get more.
"""

import importlib
import os
from functools import cache
from pathlib import Path

import pycurl

_DISTRIBUTION_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine without the package, OpenWrt
)


def find_system_ca_file() -> str | None:
    """The path of the CA bundle to believe, or None when this machine has none."""
    if named := os.environ.get("SSL_CERT_FILE"):
        return named
    for path in _DISTRIBUTION_BUNDLES:
        if Path(path).is_file():
            return path
    try:
        return str(importlib.import_module("certifi").where())
    except ImportError:
        return None


system_ca_file = cache(find_system_ca_file)


def trust(handle: pycurl.Curl, ca_file: str | None) -> None:
    """Makes `handle` believe the authorities in `ca_file`, or this machine's. Raises OSError if it cannot be read.

    libcurl parses the machine's bundle (15 ms) once for all handles of an engine, and keeps exactly one such file. A
    file of the user's is therefore handed over as bytes, which leaves the kept one in its place.
    """
    system = system_ca_file()
    handle.unsetopt(pycurl.CAPATH)  # a directory from another machine; and with one set, libcurl keeps nothing
    if ca_file is not None and ca_file != system:
        handle.setopt(pycurl.CAINFO_BLOB, Path(ca_file).read_bytes())
    elif system is not None:
        handle.setopt(pycurl.CAINFO, system)
