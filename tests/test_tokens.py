"""Tokens: shown once, kept hashed, taken up and dropped while a node runs."""

import json
from pathlib import Path

import pytest

from demesh import limits
from demesh.errors import DemeshError, UsageError
from demesh.tokens import Scope, TokenCheck, Tokens, read_token_file
from tests.at_once import at_once


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_only_a_hash_is_kept_for_this_user_alone(path: Path) -> None:
    text = Tokens(path).make("grafana", Scope.READ, 1_700_000_000_000)
    kept = path.read_text()
    assert text not in kept
    assert text.removeprefix("demesh_") not in kept
    assert path.stat().st_mode & 0o777 == 0o600
    (token,) = Tokens(path).all()
    assert token.told() == {"name": "grafana", "scope": "read", "made_at": "2023-11-14T22:13:20Z"}


def test_tokens_are_long_and_differ(path: Path) -> None:
    made = {Tokens(path).make(f"t{i}", Scope.READ, 0) for i in range(20)}
    assert len(made) == 20
    assert all(len(text.removeprefix("demesh_")) == 43 for text in made)  # 32 bytes in base64


def test_a_token_has_the_scope_that_it_was_made_with(path: Path) -> None:
    read, write = (Tokens(path).make(scope.name, scope, 0) for scope in Scope)
    check = TokenCheck(path, None)
    assert [check.scope_of(text) for text in (read, write)] == [Scope.READ, Scope.WRITE]
    assert check.scope_of(read[:-1]) is None
    assert check.scope_of("") is None


def test_a_running_node_takes_up_what_is_made_and_drops_what_is_revoked(path: Path) -> None:
    check = TokenCheck(path, None)
    assert check.empty
    text = Tokens(path).make("a", Scope.READ, 0)
    assert check.scope_of(text) == Scope.READ
    Tokens(path).revoke("a")
    assert check.scope_of(text) is None


def test_a_file_that_was_damaged_since_allows_nothing_and_one_at_start_is_refused(path: Path) -> None:
    text = Tokens(path).make("a", Scope.READ, 0)
    check = TokenCheck(path, None)
    good = path.read_text()
    for damaged in ("{", good.replace(json.loads(good)[0]["sha256"], "é" * 64)):
        path.write_text(damaged)
        assert check.scope_of(text) is None
    with pytest.raises(UsageError, match="damaged"):
        TokenCheck(path, None)


@pytest.mark.parametrize(
    "content",
    [
        "[]x",
        '{"a": 1}',
        "[1]",
        '[{"name": "a"}]',
        json.dumps([{"name": "a", "scope": "all", "sha256": "0" * 64, "made_at": ""}]),
        *(
            json.dumps([{"name": "a", "scope": "read", "sha256": damaged, "made_at": ""}])
            for damaged in ("", "0" * 63, "0" * 63 + "é", "0" * 63 + "\ud800", "0" * 64 + "\n", 5, None)
        ),
    ],
)
def test_no_damage_is_taken_for_tokens(content: str, path: Path) -> None:
    path.write_text(content)
    with pytest.raises(UsageError, match=str(path)):
        Tokens(path).all()


def test_a_name_is_given_once_and_what_is_not_there_cannot_be_revoked(path: Path) -> None:
    tokens = Tokens(path)
    tokens.make("a", Scope.READ, 0)
    with pytest.raises(UsageError, match="another --name"):
        tokens.make("a", Scope.WRITE, 0)
    with pytest.raises(UsageError, match=r"no token named 'b' \(a\)"):
        tokens.revoke("b")


def test_a_token_that_is_made_while_another_is_revoked_leaves_that_revoked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Tokens(path).make("old", Scope.WRITE, 0)
    made: list[str] = []
    at_once(
        monkeypatch,
        lambda: made.append(Tokens(path).make("new", Scope.READ, 0)),
        lambda: Tokens(path).revoke("old"),
    )
    check = TokenCheck(path, None)
    assert [check.scope_of(text) for text in (old, *made)] == [None, Scope.READ]


def test_a_token_that_is_made_while_another_is_revoked_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Tokens(path).make("old", Scope.WRITE, 0)
    made: list[str] = []
    at_once(
        monkeypatch,
        lambda: Tokens(path).revoke("old"),
        lambda: made.append(Tokens(path).make("new", Scope.READ, 0)),
    )
    check = TokenCheck(path, None)
    assert [check.scope_of(text) for text in (old, *made)] == [None, Scope.READ]


def test_two_first_tokens_at_once_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "home/tokens.json"
    made: list[str] = []
    at_once(
        monkeypatch,
        lambda: made.append(Tokens(path).make("a", Scope.READ, 0)),
        lambda: made.append(Tokens(path).make("b", Scope.READ, 0)),
    )
    check = TokenCheck(path, None)
    assert [check.scope_of(text) for text in made] == [Scope.READ, Scope.READ]


def test_their_number_is_bounded(path: Path) -> None:
    kept = [{"name": str(i), "scope": "read", "sha256": "0" * 64, "made_at": ""} for i in range(limits.TOKENS_MAX)]
    path.write_text(json.dumps(kept))
    with pytest.raises(UsageError, match="revoke some"):
        Tokens(path).make("one more", Scope.READ, 0)


def test_a_failed_write_leaves_the_old_tokens(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Tokens(path).make("a", Scope.READ, 0)

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DemeshError, match="No space left"):
        Tokens(path).make("b", Scope.READ, 0)
    assert TokenCheck(path, None).scope_of(text) == Scope.READ
    assert [each.name for each in path.parent.iterdir()] == ["tokens.json"]


def test_a_configured_file_holds_one_token_that_may_write(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "api.token"
    file.write_text("0123456789abcdef\n")
    check = TokenCheck(path, file)
    assert not check.empty
    assert check.scope_of("0123456789abcdef") == Scope.WRITE
    file.write_text("fedcba9876543210-\n")
    assert check.scope_of("0123456789abcdef") is None
    assert check.scope_of("fedcba9876543210-") == Scope.WRITE


@pytest.mark.parametrize("content", [b"", b"short", b"two words that are long", b"\xff" * 20])
def test_a_file_without_a_good_token_is_refused_and_not_quoted(content: bytes, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "api.token"
    file.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        TokenCheck(path, file)
    assert str(file) in str(refused.value)
    assert "short" not in str(refused.value)
    assert "words" not in str(refused.value)


def test_a_configured_file_may_hold_a_token_that_may_only_read(path: Path, tmp_path: Path) -> None:
    (writing := tmp_path / "api.token").write_text("a-token-of-my-own-0\n")
    (reading := tmp_path / "read.token").write_text("a-token-of-my-own-1\n")
    check = TokenCheck(path, writing, reading)
    assert not check.empty
    assert [check.scope_of(f"a-token-of-my-own-{each}") for each in (0, 1, 2)] == [Scope.WRITE, Scope.READ, None]
    reading.write_text("a-token-of-my-own-22\n")
    assert check.scope_of("a-token-of-my-own-1") is None
    assert check.scope_of("a-token-of-my-own-22") == Scope.READ


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_token_file(tmp_path / "none")
