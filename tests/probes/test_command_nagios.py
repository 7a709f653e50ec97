"""What monitoring plug-ins print, by their guidelines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.probes.nagios import Datum, read_data, read_output

_LONG = """DISK OK - free space: / 3326 MB (56%); | /=2643MB;5948;5958;0;5968
/ 15272 MB (77%);
/boot 68 MB (69%);
/var/log 819 MB (84%); | /boot=68MB;88;93;0;98
/home=69357MB;253404;253409;0;253414
/var/log=818MB;970;975;0;980
"""


def test_the_guidelines_own_example_is_read_whole() -> None:
    line, data = read_output(_LONG)
    assert line == "DISK OK - free space: / 3326 MB (56%);"
    assert [datum.label for datum in data] == ["/", "/boot", "/home", "/var/log"]
    assert data[0] == Datum("/", 2643, "MB", "5948", "5958", 0, 5968)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time=0.02s;;;0.000000;10.000000", Datum("time", 0.02, "s", "", "", 0, 10)),
        ("load1=0.170;5.000;10.000;0;", Datum("load1", 0.17, "", "5.000", "10.000", 0)),
        ("rta=0.04ms;100.0;500.0;0;", Datum("rta", 0.04, "ms", "100.0", "500.0", 0)),
        ("pl=0%;20;60;0", Datum("pl", 0, "%", "20", "60", 0)),
        ("'free space'=7B", Datum("free space", 7, "B")),
        ("'it''s'=-1.5e3c", Datum("it's", -1500, "c")),
        ("users=U", Datum("users", None)),
        ("t=5;@10:20;~:30", Datum("t", 5, "", "@10:20", "~:30")),
        ("t=5;10:;:20", Datum("t", 5, "", "10:", ":20")),
    ],
)
def test_a_datum_has_value_unit_ranges_and_bounds(text: str, expected: Datum) -> None:
    assert read_data(text) == (expected,)


@pytest.mark.parametrize("text", ["", "nothing", "a=", "a=b", "=1", "a=1;x", "a=1;1;2;low", "a=1e999", "a b=1x;;;;;;"])
def test_what_is_malformed_is_left_out_and_hides_nothing_after_it(text: str) -> None:
    after = read_data(f"{text} good=1s")
    assert after[-1] == Datum("good", 1, "s")
    assert all(datum.label in ("good", "b") for datum in after)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [("t=2s", 2_000_000), ("t=0.5ms", 500), ("t=7us", 7), ("t=7", None), ("t=U", None), ("t=7B", None)],
)
def test_a_time_is_known_by_its_unit(text: str, microseconds: int | None) -> None:
    assert read_data(text)[0].microseconds == microseconds


@pytest.mark.parametrize("text", ["", "\n", "|", "\r\n OK \r\n"])
def test_output_without_data_has_none(text: str) -> None:
    assert read_output(text) == (text.strip("\r\n |"), ())


@given(st.text())
def test_any_output_is_read(text: str) -> None:
    line, data = read_output(text)
    assert "\n" not in line
    assert "|" not in line
    assert len(data) <= len(text)


@given(st.text(alphabet="a='; |1\n", max_size=200))
def test_text_that_is_nearly_data_is_read_in_a_bounded_number_of_steps(text: str) -> None:
    assert len(read_data(text)) <= len(text)
