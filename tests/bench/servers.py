"""What is probed, and the peer that probes it too: nginx and prometheus-blackbox-exporter, in processes of their own."""

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from demesh.trust import find_system_ca_file
from tests.certificates import Authority
from tests.e2e.harness import eventually
from tests.ports import free_port

_START_SECONDS_MAX = 20
_NGINX = """
daemon off; pid {place}/nginx.pid; error_log {place}/nginx.log; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
  uwsgi_temp_path {place}; scgi_temp_path {place};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off; ssl_session_tickets off;
  server {{
    listen 127.0.0.1:{http} backlog=4096; listen 127.0.0.1:{https} ssl backlog=4096;
    ssl_certificate {pem}; ssl_certificate_key {pem};
    location / {{ default_type text/plain; return 200 "Welcome\\n"; }}
  }}
}}
"""
_BLACKBOX = "modules: {http: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4}}}\n"


class Nginx:
    """Answers 200 on both URLs; the certificate is of an authority that `bundle` adds to this machine's own."""

    def __init__(self, place: Path, authority: Authority) -> None:
        http, https = free_port(), free_port()
        self.http_url, self.https_url = f"http://127.0.0.1:{http}/", f"https://127.0.0.1:{https}/"
        authority.server("site")
        self.bundle = place / "bundle.pem"
        system = find_system_ca_file()
        known = Path(system).read_bytes() if system else b""
        self.bundle.write_bytes(known + Path(authority.ca_file).read_bytes())
        self._config = place / "nginx.conf"
        pem = authority.home / "site.pem"
        self._config.write_text(_NGINX.format(place=place, http=http, https=https, pem=pem))

    @contextmanager
    def running(self) -> Generator["Nginx"]:
        program = shutil.which("nginx")
        if program is None:
            raise AssertionError("nginx is not installed: there is nothing to probe")
        with _process([program, "-c", str(self._config)], self.http_url):
            yield self


@contextmanager
def blackbox(program: str, place: Path, bundle: Path) -> Generator[tuple[str, int]]:
    """A blackbox_exporter that believes `bundle`: its address and its process id."""
    config, address = place / "blackbox.yml", f"127.0.0.1:{free_port()}"
    config.write_text(_BLACKBOX)
    command = [program, f"--config.file={config}", f"--web.listen-address={address}", "--log.level=error"]
    with _process(command, f"http://{address}/-/healthy", SSL_CERT_FILE=str(bundle)) as process:
        yield address, process.pid


@contextmanager
def _process(command: Sequence[str], url: str, **environment: str) -> Generator[subprocess.Popen[bytes]]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env={**os.environ, **environment})
    try:
        eventually(lambda: urllib.request.urlopen(url).status, lambda s: s == 200, _START_SECONDS_MAX, command[0])
        yield process
    finally:
        process.terminate()
        process.wait()
