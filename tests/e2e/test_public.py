"""A real node answers strangers on a port of its own, and tells them no more than it should."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.harness import NodeProcess, WebServer, eventually
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

_CONFIG = """
[api]
public_listen = "127.0.0.1:{port}"
public_checks = "web"
[defaults]
interval = "1s"
timeout = "1s"
retry_interval = "1s"
[[server_list]]
file = "ours.csv"
interval = "1s"
timeout = "1s"
[[check]]
name = "web"
target = "{target}/inside"
[[check]]
name = "gone"
target = "http://127.0.0.1:9/"
"""
_LIST = "type,host,port,transport,family,user,password_file,note\nntp,time.example.net,,,4,,,\n"
_SERVER = "ntp time.example.net:123 udp v4"


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeProcess, str]]:
    """A node that has run all its checks, and where it answers everybody."""
    home = tmp_path_factory.mktemp("node")
    port = free_port()
    (home / "ours.csv").write_text(_LIST)
    with WebServer() as web:
        node = NodeProcess(home, "nas-of-ann", _CONFIG.format(port=port, target=web.url))
        with node:
            node.start()
            node.wait_ready()
            eventually(node.status, lambda said: {"web", "gone"} <= _known(said), 30, "verdicts")
            yield node, f"http://127.0.0.1:{port}"


def _known(status: dict[str, list[dict[str, str]]]) -> set[str]:
    return {check["name"] for check in status["checks"] if check["state"] != "unknown"}


def _read(url: str, method: str = "GET") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_page_the_lists_and_the_badges_are_there(strangers: tuple[NodeProcess, str]) -> None:
    node, url = strangers
    eventually(lambda: _read(f"{url}/badge/web.svg")[1], lambda said: ">up<" in said, 30, "a badge of what is up")
    status, page = _read(f"{url}/")
    assert status == 200
    assert '>web</th><td><span class="state up">up</span>' in page
    assert json.loads(_read(f"{url}/api/v1/servers")[1])["servers"] == []
    assert json.loads(_read(f"{url}/servers")[1])["NTP"]["IPv4"]["UDP"] == []
    assert _read(f"{url}/healthz") == (200, '{"status":"ok"}')
    assert f"everybody  {url}, read only" in node.output()


def test_a_server_of_a_list_that_never_answered_is_shown_nowhere(strangers: tuple[NodeProcess, str]) -> None:
    """None can answer here: they are asked at public addresses only. tests/api/test_public.py has one that did."""
    node, url = strangers
    assert _SERVER in {each["name"] for each in node.status()["checks"]}
    assert "time.example.net" not in "".join(_read(url + path)[1] for path in ("/", "/servers", "/api/v1/servers"))
    assert _read(f"{url}/badge/{quote(_SERVER)}.svg")[0] == 404


def test_nothing_else_is(strangers: tuple[NodeProcess, str]) -> None:
    node, url = strangers
    paths: list[str] = list(json.loads(node.read("/openapi.json"))["paths"])
    assert len(paths) > 20
    for path in (*paths, "/openapi.json"):
        shared = path in ("/servers", "/api/v1/servers", "/healthz")
        assert (_read(url + path)[0] == 404) is not shared, path
        assert _read(url + path, "POST")[0] in (404, 405), path
    said = "".join(_read(url + path)[1] for path in ("/", "/servers", "/api/v1/servers", "/badge/gone.svg", "/metrics"))
    status = node.status()
    peer = status["nodes"][0]["peer_id"]
    for word in ("nas-of-ann", peer, status["mesh"], "gone", "/inside", "refused", node.swarm, node.api):
        assert word not in said, word
    assert node.status()["checks"], "and the node is well"


def test_a_taken_port_ends_the_start_with_what_to_do(strangers: tuple[NodeProcess, str], tmp_path: Path) -> None:
    _, url = strangers
    other = NodeProcess(tmp_path / "other", "other", f'[api]\npublic_listen = "{url.removeprefix("http://")}"\n')
    with other:
        other.start()
        assert other.wait(30) == 1
    assert "Choose another in [api] public_listen, or take that line out." in other.output()
    assert "Traceback" not in other.output()


def test_which_checks_are_shown_changes_while_it_runs_and_where_it_listens_does_not(
    strangers: tuple[NodeProcess, str],
) -> None:
    node, url = strangers
    config = node.home / "demesh.toml"
    text = config.read_text().replace('public_checks = "web"', 'public_checks = ["gone"]')
    config.write_text(text.replace(url.removeprefix("http://"), f"127.0.0.1:{free_port()}"))
    eventually(lambda: _read(f"{url}/badge/gone.svg")[1], lambda said: ">down<" in said, 40, "what is shown now")
    assert _read(f"{url}/badge/web.svg")[0] == 404
    assert "not while this node runs; restart it: public_listen" in node.output()
