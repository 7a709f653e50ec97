"""Where a key stands."""

from demesh.config.lines import key_lines, line_of

_TEXT = """\
top = 1

[node]
name = "x"
"tags" = [
    "a",
]
[[check]]
name = "first"
expect.status = 200
  [check.expect]
  body = "x"
[[check]]
name = "second"
expect = { status = 200, body = "y" }
[check.labels]
team = "ops"
"""


def test_every_table_and_key_has_its_line() -> None:
    assert key_lines(_TEXT) == {
        ("top",): 1,
        ("node",): 3,
        ("node", "name"): 4,
        ("node", "tags"): 5,
        ("check", 0): 8,
        ("check", 0, "name"): 9,
        ("check", 0, "expect", "status"): 10,
        ("check", 0, "expect"): 11,
        ("check", 0, "expect", "body"): 12,
        ("check", 1): 13,
        ("check", 1, "name"): 14,
        ("check", 1, "expect"): 15,
        ("check", 1, "labels"): 16,
        ("check", 1, "labels", "team"): 17,
    }


def test_what_has_no_line_of_its_own_has_that_of_the_nearest_thing_around_it() -> None:
    lines = key_lines(_TEXT)
    assert line_of(lines, ("node", "tags", 0)) == 5
    assert line_of(lines, ("check", 1, "expect", "body")) == 15
    assert line_of(lines, ("check", 1, "target")) == 13
    assert line_of(lines, ("nowhere",)) == 1
