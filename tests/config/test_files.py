"""A configuration is demesh.toml and the files in `checks/` beside it, refused or taken as one."""

from pathlib import Path

import pytest

from demesh import limits
from demesh.config.load import load
from tests.config.files import written

_ONE = '[[check]]\nname = "{}"\ntarget = "https://example.org"\n'


def test_checks_stand_in_the_main_file_and_in_others_in_the_order_of_their_names(tmp_path: Path) -> None:
    path = written(
        tmp_path, main="[defaults]\nfail_after = 5\n" + _ONE.format("main"), b=_ONE.format("b1"), a=_ONE.format("a")
    )
    (tmp_path / "checks/.a.toml").write_text("half written by an editor")
    (tmp_path / "checks/a.toml.bak").write_text("kept by somebody")
    found = load(path, {}).settings
    assert found
    assert [check.name for check in found.checks] == ["main", "a", "b1"]
    assert {check.fail_after for check in found.checks} == {5}, "the defaults are those of the main file"


def test_names_differ_over_all_files(tmp_path: Path) -> None:
    path = written(tmp_path, main=_ONE.format("web"), a=_ONE.format("web"), b=_ONE.format("web"))
    checks = tmp_path / "checks"
    assert load(path, {}).problems == [
        f"{checks}/a.toml:2: check[1].name: there is another check named 'web' in {path}; names must differ.",
        f"{checks}/b.toml:2: check[1].name: there is another check named 'web' in {path}; names must differ.",
    ]


def test_all_problems_of_all_files_are_named_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        main='[node]\nnmae = "x"\n[[check]]\nname = "web"\ntarget = "https://example.org"\ndepends_on = ["nothing"]\n',
        a=_ONE.format("a") + "interval = 5\n",
        b="not toml",
        c="[defaults]\nfail_after = 5\n[[check]]\n",
        d=_ONE.format("d") + 'password_file = "none"\nuser = "x"\n',
    )
    checks = tmp_path / "checks"
    assert [problem.partition(": ")[0] for problem in load(path, {}).problems] == [
        f"{path}:2",
        f"{path}:6",
        f"{checks}/a.toml:4",
        f"{checks}/b.toml:1",
        f"{checks}/c.toml:1",
        f"{checks}/c.toml:3",
        f"{checks}/c.toml:3",
        f"{checks}/d.toml:4",
    ]
    assert "belongs in the main configuration file" in load(path, {}).problems[4]


def test_a_check_may_depend_on_one_in_another_file(tmp_path: Path) -> None:
    path = written(tmp_path, main=_ONE.format("web") + 'depends_on = ["lb"]', a=_ONE.format("lb"))
    assert load(path, {}).problems == []
    path = written(tmp_path, a=_ONE.format("lb") + 'depends_on = ["web"]')
    (problem,) = load(path, {}).problems
    assert "comes back to itself" in problem


def test_two_rings_are_named_both(tmp_path: Path) -> None:
    def needs(name: str, other: str) -> str:
        return _ONE.format(name) + f'depends_on = ["{other}"]\n'

    path = written(
        tmp_path, main=needs("a", "b") + needs("b", "a") + needs("c", "d") + needs("d", "c") + needs("e", "a")
    )
    assert len(load(path, {}).problems) == 2


def test_secrets_of_another_file_are_relative_to_the_main_one(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("sesame")
    path = written(tmp_path, main="", a=_ONE.format("a") + 'user = "me"\npassword_file = "pw"')
    assert load(path, {}).problems == []


@pytest.mark.parametrize("kind", ["directory", "link to nothing"])
def test_what_is_called_like_a_file_of_checks_and_is_none_is_named(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, main="", a="")
    other = tmp_path / "checks/b.toml"
    other.mkdir() if kind == "directory" else other.symlink_to("nothing")
    (problem,) = load(path, {}).problems
    assert problem.startswith(f"{other}: cannot be read: ")


def test_there_are_not_too_many_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHECKS_MAX", 3)
    path = written(tmp_path, main=_ONE.format("1") + _ONE.format("2"), a=_ONE.format("3") + _ONE.format("4"))
    (problem,) = load(path, {}).problems
    assert problem == f"{tmp_path}/checks/a.toml:5: check[2].name: there are 4 checks; at most 3 are allowed."
