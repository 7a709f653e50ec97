"""How errors come out of groups, on every Python that demesh runs on."""

import ast
from pathlib import Path

import demesh
from demesh.errors import NetworkError, StoreError, leaves

_SOURCES = sorted(Path(demesh.__file__).parent.rglob("*.py"))


def test_leaves_are_the_errors_of_a_group_however_deep() -> None:
    one, other = NetworkError("one"), StoreError("other")
    assert leaves(one) == [one]
    assert leaves(ExceptionGroup("all", [ExceptionGroup("some", [one]), other])) == [one, other]


def test_nothing_is_raised_where_some_pythons_would_put_a_group_around_it() -> None:
    """Python 3.11.2, which Debian 12 has, raises a group of what is raised within `except*`: nobody catches that."""
    raising = [
        f"{path.name}:{inner.lineno}"
        for path in _SOURCES
        for block in ast.walk(ast.parse(path.read_text()))
        if isinstance(block, ast.TryStar)
        for handler in block.handlers
        for inner in ast.walk(handler)
        if isinstance(inner, ast.Raise | ast.Assert | ast.Await)
    ]
    assert raising == []
    assert _SOURCES
