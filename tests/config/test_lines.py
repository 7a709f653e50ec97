"""Where a key stands."""

import tomllib
from typing import Any

import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from demesh.config.lines import Path, key_lines, line_of

_TEXT = '''\
top = 1

[node]
name = "x"
"tags" = [
    "a", # ]
    'b'
]
[[check]]
name = "first"
expect.status = 200
[[ check ]]
name = "second"
expect = { status = 200, body = "y" }
[check.labels]
team = "ops" # team = "no"
[ a . "b.c" ]
long = """
x = 1
[y]
\\"\\"" \\\\""""
odd = \'\'\'
[z]
\'\'\'\'\'
when = 1979-05-27 07:32:00
deep = [ 1, [
  { "\\u0071" = [
    2 ] } ] ]
end = 1
'''


def test_every_table_key_and_element_has_its_line() -> None:
    assert tomllib.loads(_TEXT)["a"]["b.c"]["end"] == 1
    assert key_lines(_TEXT) == {
        ("top",): 1,
        ("node",): 3,
        ("node", "name"): 4,
        ("node", "tags"): 5,
        ("node", "tags", 0): 6,
        ("node", "tags", 1): 7,
        ("check",): 9,
        ("check", 0): 9,
        ("check", 0, "name"): 10,
        ("check", 0, "expect"): 11,
        ("check", 0, "expect", "status"): 11,
        ("check", 1): 12,
        ("check", 1, "name"): 13,
        ("check", 1, "expect"): 14,
        ("check", 1, "expect", "status"): 14,
        ("check", 1, "expect", "body"): 14,
        ("check", 1, "labels"): 15,
        ("check", 1, "labels", "team"): 16,
        ("a", "b.c"): 17,
        ("a", "b.c", "long"): 18,
        ("a", "b.c", "odd"): 22,
        ("a", "b.c", "when"): 25,
        ("a", "b.c", "deep"): 26,
        ("a", "b.c", "deep", 0): 26,
        ("a", "b.c", "deep", 1): 26,
        ("a", "b.c", "deep", 1, 0): 27,
        ("a", "b.c", "deep", 1, 0, "q"): 27,
        ("a", "b.c", "deep", 1, 0, "q", 0): 28,
        ("a", "b.c", "end"): 29,
    }


def test_lines_that_end_like_those_of_windows_are_counted_alike() -> None:
    assert key_lines(_TEXT.replace("\n", "\r\n")) == key_lines(_TEXT)


def test_what_has_no_line_of_its_own_has_that_of_the_nearest_thing_around_it() -> None:
    lines = key_lines(_TEXT)
    assert line_of(lines, ("check", 1, "expect", "header", "x")) == 14
    assert line_of(lines, ("check", 1, "target")) == 12
    assert line_of(lines, ("nowhere",)) == 1


def _paths(value: Any, path: Path = ()) -> set[Path]:
    """Every path in what a TOML file says, tables that hold only tables left out: they need not be written."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path}.union(*(_paths(each, (*path, key)) for key, each in inner))


_KEYS = st.text("ab.c\"'\\ #=[]{}\u00fc", min_size=1, max_size=4)
_SCALARS = st.integers(-9, 9) | st.booleans() | st.text("a\"'\\#[]{},=\n\u00fc ", max_size=8)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_KEYS, _VALUES, max_size=4))
def test_everything_in_a_file_is_found_whatever_is_in_it(content: dict[str, Any]) -> None:
    text = tomlkit.dumps(content)
    said = tomllib.loads(text)
    assert set(key_lines(text)) | {()} >= {
        path for path in _paths(said) if not isinstance(_at(said, path), dict) or not _at(said, path)
    }


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value
