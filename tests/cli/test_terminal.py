"""What comes from elsewhere cannot command the terminal."""

from demesh.cli.terminal import count, printable


def test_control_characters_of_others_do_not_reach_the_terminal() -> None:
    said = {"detail": "\x1b]0;owned\x07ok", "names": ["a\nb", "ü✔"], "latency_ms": 1.5, "none": None}
    assert printable(said) == {
        "detail": "\ufffd]0;owned\ufffdok",
        "names": ["a\ufffdb", "ü✔"],
        "latency_ms": 1.5,
        "none": None,
    }


def test_numbers_are_told_in_words_that_fit() -> None:
    assert [count(n, "log") for n in (0, 1, 2)] == ["0 logs", "1 log", "2 logs"]
    assert count(2, "entry", "entries") == "2 entries"
