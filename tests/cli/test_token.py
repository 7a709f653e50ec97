"""`demesh token`: what it prints, and how a command shows a token to a node."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from demesh.tokens import Scope, TokenCheck, Tokens
from tests.cli.answering import url_answering
from tests.cli.harness import demesh


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert demesh(tmp_path / "home", "init", "--name", "nas").code == 0
    return tmp_path / "home"


def test_a_new_token_alone_is_on_standard_output(home: Path) -> None:
    ran = demesh(home, "token", "new", "--read", "--name", "grafana")
    assert ran.code == 0
    assert ran.out.count("\n") == 1
    assert "shown this once" in ran.err
    check = TokenCheck(home / "tokens.json", None)
    assert check.scope_of(ran.out.strip()) == Scope.READ
    assert check.scope_of(demesh(home, "token", "new").out.strip()) == Scope.WRITE


@pytest.mark.parametrize("configured", [True, False])
def test_what_a_node_without_tokens_says_to_do_can_be_done_before_its_first_start(
    configured: bool, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    if configured:
        home.mkdir()
        (home / "demesh.toml").write_text('[api]\nlisten = "0.0.0.0:8570"\n')
    start = ("node", "run") if configured else ("node", "run", "--api", "0.0.0.0:8570")
    refused = demesh(tmp_path / "other" if not configured else home, *start)
    assert refused.code == 2
    assert "`demesh token new`" in refused.err
    made = demesh(home, "token", "new")
    assert made.code == 0
    assert TokenCheck(home / "tokens.json", None).scope_of(made.out.strip()) == Scope.WRITE
    assert configured or home.stat().st_mode & 0o7777 == 0o700
    assert demesh(home, "token", "list").out.split()[0] == "token-1"
    with pytest.raises(AssertionError, match="the node would run"):
        demesh(home, *start)


def test_json_has_the_token_with_its_name_and_scope(home: Path) -> None:
    said = json.loads(demesh(home, "token", "new", "--json").out)
    assert said.keys() == {"name", "scope", "token"}
    assert (said["name"], said["scope"]) == ("token-1", "write")
    assert json.loads(demesh(home, "token", "new", "--json").out)["name"] == "token-2"


def test_the_list_has_no_token_and_no_hash(home: Path) -> None:
    text = demesh(home, "token", "new", "--read", "--name", "grafana").out.strip()
    listed = demesh(home, "token", "list")
    assert listed.out.split()[:2] == ["grafana", "read"]
    told = json.loads(demesh(home, "token", "list", "--json").out)
    assert [each.keys() for each in told] == [{"name", "scope", "made_at"}]
    assert text not in listed.out


def test_a_revoked_token_is_gone(home: Path) -> None:
    text = demesh(home, "token", "new", "--name", "a").out.strip()
    assert demesh(home, "token", "revoke", "a").code == 0
    assert TokenCheck(home / "tokens.json", None).scope_of(text) is None
    again = demesh(home, "token", "revoke", "a")
    assert again.code == 2
    assert "There is no token named 'a'" in again.err
    assert "There are no tokens" in demesh(home, "token", "list").err


def test_several_nodes_come_to_know_one_token(home: Path, tmp_path: Path) -> None:
    """Prometheus shows the same one to all that it scrapes."""
    text = demesh(home, "token", "new", "--read", "--name", "prometheus").out
    given = tmp_path / "prometheus.token"
    given.write_text(text)
    arguments = ("token", "new", "--read", "--name", "prometheus", "--file", str(given))
    taken = demesh(tmp_path / "other", *arguments)
    assert (taken.code, taken.out) == (0, ""), "it is not printed again"
    assert TokenCheck(tmp_path / "other" / "tokens.json", None).scope_of(text.strip()) == Scope.READ
    known = demesh(home, "token", "new", "--file", str(given))
    assert known.code == 2
    assert "knows that token already, as 'prometheus'" in known.err
    assert json.loads(demesh(tmp_path / "third", *arguments, "--json").out)["token"] is None


def test_a_file_without_a_token_is_refused_and_not_repeated(home: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_text("sesame\n")
    for name in ("short", "none"):
        ran = demesh(home, "token", "new", "--file", str(tmp_path / name))
        assert ran.code == 2
        assert "sesame" not in ran.err
    assert "There are no tokens" in demesh(home, "token", "list").err


def test_a_name_that_is_none_is_refused(home: Path) -> None:
    assert demesh(home, "token", "new", "--name", "\x1b[31m").code == 2


def _status(home: Path, url: str, *arguments: str, **environment: str) -> str:
    return demesh(home, "status", "--node", url, *arguments, **environment).err


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "does not know who asks. Make a token on its machine with `demesh token new --read`"),
        (403, "refuses: This token may only read."),
        (421, "refuses: This token may only read."),
    ],
)
def test_a_refusal_is_a_sentence(status: int, says: str, tmp_path: Path) -> None:
    answer = {"error": "This token may only read."}
    with url_answering({"/api/v1/status": answer}, status) as url:
        ran = demesh(tmp_path / "home", "status", "--node", url)
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1


def test_what_a_stranger_says_cannot_command_the_terminal(tmp_path: Path) -> None:
    with url_answering({"/api/v1/status": {"error": "\x1b[2Jgone"}}, 403) as url:
        assert "\x1b" not in _status(tmp_path / "home", url)


def test_a_token_is_shown_to_the_node_at_the_url(tmp_path: Path) -> None:
    """The answer is what came as Authorization."""
    with url_answering({"/api/v1/status": lambda headers: {"error": str(headers["Authorization"])}}, 403) as url:
        assert "refuses: None" in _status(tmp_path / "home", url)
        assert "refuses: Bearer abc" in _status(tmp_path / "home", url, "--token", "abc")
        assert "refuses: Bearer def" in _status(tmp_path / "home", url, DEMESH_TOKEN="def")


def test_a_token_that_can_be_none_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with url_answering({"/api/v1/status": {}}) as url:
        said = _status(tmp_path / "home", url, "--token", "sesame\r\nX: y")
    assert "holds a character that none has" in said
    assert "sesame" not in said


def test_several_made_at_once_without_a_name_have_one_each(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "demesh", "token", "new", "--data-dir", str(tmp_path / "home")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    made = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0] * 4
    check = TokenCheck(tmp_path / "home" / "tokens.json", None)
    assert [check.scope_of(text) for text in made] == [Scope.WRITE] * 4
    assert sorted(each.name for each in Tokens(tmp_path / "home" / "tokens.json").all()) == [
        f"token-{n}" for n in range(1, 5)
    ]
