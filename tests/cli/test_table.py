"""Tables for people: they fit the terminal if they can, lose nothing, and are coloured only where that is wanted."""

import sys
from collections.abc import Sequence
from io import BytesIO, TextIOWrapper

import pytest

from demesh.cli.table import Cell, flow, painted, say, say_table

_NAMES = ("CHECK", "DETAIL", "CERT")
_ROWS: list[list[Cell]] = [
    [("✔ blog", "green"), ("all is well with this one", ""), ("", "")],
    [("✖ shop", "bold red"), ("refused", ""), ("14d", "")],
]


def _lines(captured: pytest.CaptureFixture[str]) -> list[str]:
    return captured.readouterr().out.splitlines()


def _table(fits: int | None, rows: Sequence[Sequence[Cell]] = _ROWS) -> None:
    say_table(_NAMES, rows, ("CHECK",), fits)


def test_columns_stand_below_each_other_and_no_line_ends_in_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    _table(None)
    assert _lines(capsys) == [
        "CHECK   DETAIL                     CERT",
        "✔ blog  all is well with this one",
        "✖ shop  refused                    14d",
    ]


def test_a_narrow_table_breaks_the_widest_column_at_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    _table(27)
    assert _lines(capsys) == [
        "CHECK   DETAIL         CERT",
        "✔ blog  all is well",
        "        with this one",
        "✖ shop  refused        14d",
    ]


def test_what_is_unbroken_stays_whole_where_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    _table(10)
    text = capsys.readouterr().out
    assert "✔ blog" in text
    for word in ("all", "is", "well", "with", "this", "one", "refuse", "14d"):
        assert word in text


def test_a_word_that_is_too_long_is_broken_and_nothing_of_it_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(("A", "B"), [[("x" * 25, ""), ("y", "")]], (), 13)
    assert _lines(capsys) == ["A           B", f"{'x' * 10}  y", "x" * 10, "x" * 5]


def test_wide_characters_take_two_columns_and_combining_ones_none(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(
        ("A", "B"), [[("日本", ""), ("1", "")], [("e\u0301", ""), ("2", "")], [("abcd", ""), ("3", "")]], (), None
    )
    assert _lines(capsys) == ["A     B", "日本  1", "e\u0301     2", "abcd  3"]


def _flowed(*texts: str, fits: int, indent: int = 0) -> list[str]:
    return ["".join(text for text, _ in line) for line in flow([(text, "") for text in texts], fits, indent)]


def test_a_flow_breaks_between_its_parts() -> None:
    parts = ("nodes  ", "nas ✔ alive   ", "vps ✔ alive   ")
    assert _flowed(*parts, fits=20) == ["nodes  nas ✔ alive", "vps ✔ alive"]
    assert _flowed(*parts, fits=20, indent=7) == ["nodes  nas ✔ alive", "       vps ✔ alive"]
    assert _flowed(*parts, fits=80) == ["nodes  nas ✔ alive   vps ✔ alive"]


def test_a_part_that_is_longer_than_a_line_is_broken_at_spaces_and_nothing_of_it_is_lost() -> None:
    assert _flowed("! ", "one two three four ", "(five)", fits=12, indent=2) == [
        "! one two",
        "  three four",
        "  (five)",
    ]
    assert _flowed("x" * 25, fits=10, indent=2) == ["x" * 10, f"  {'x' * 8}", f"  {'x' * 7}"]
    assert _flowed("a " + "日本" * 4, fits=10, indent=2) == ["a 日本日本", "  日本日本"]


def test_a_glyph_that_the_encoding_lacks_is_told_by_a_plain_one_of_the_same_width(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for encoding, told in (("ascii", "+ ?? ! ?:"), ("latin-1", "+ ?? ! é:"), ("utf-8", "✔ 日 ✖ é░")):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), encoding=encoding, newline="\n"))
            text = painted([("✔ 日 ✖ é░", "")])
        assert text == told


@pytest.mark.parametrize(
    ("variable", "said"),
    [("FORCE_COLOR", "\x1b[31m\x1b[1mdown\x1b[0m"), ("NO_COLOR", "down"), ("OTHER", "down")],
)
def test_colours_come_where_they_are_wanted(
    variable: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(variable, "1")
    say(("down", "bold red"))
    assert capsys.readouterr().out == f"{said}\n"
