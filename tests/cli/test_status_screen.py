"""What a person must see of a status, whatever the terminal: rendered from the JSON of a node of any version."""

import re
from typing import Any

import pytest

from demesh.cli.status import frame
from demesh.cli.status_checks import Room, Wanted
from demesh.cli.status_screen import Asked, screen
from demesh.cli.table import text_width
from tests.cli.status_answers import Json, answer, check, hours, incident, node, vantage

_WIDTHS = (40, 80, 140)
_ANY, _NOW = Wanted(), Asked()


def _told(document: Json, fits: int = 200, wanted: Wanted = _ANY, asked: Asked = _NOW) -> list[str]:
    lines = ["".join(text for text, _ in line) for line in screen(document, wanted, asked, Room(fits))]
    for line in lines:
        assert text_width(line) <= fits
        assert line == line.rstrip()
    return lines


def _words(document: Json, fits: int = 200, **changed: Any) -> str:
    """All of it in one line, as if nothing had been broken."""
    return " ".join(" ".join(_told(document, fits, **changed)).split())


def _line(document: Json, start: str, fits: int = 200, **changed: Any) -> str:
    (found,) = [line for line in _told(document, fits, **changed) if line.lstrip().startswith(start)]
    return found


_API = check("api", "partial", vantage("fra"), vantage("nyc", "fail", detail="timeout"), vantage("lab"), quorum=2)


def test_a_row_holds_who_sees_it_how_it_was_and_since_when() -> None:
    uptime = {"24h": {"ratio": 0.99624, "coverage": 1.0}, "30d": {"ratio": 0.9999, "coverage": 0.4}}
    blog = check(
        "blog",
        "up",
        vantage("nas"),
        vantage("vps"),
        uptime=uptime,
        hours=hours(1, 0.5, 0),
        certificate_expires_at="2026-03-15T12:00:00Z",
    )
    lines = _told(answer(checks=[blog]))
    header, row = (re.split(r" {2,}", lines[number]) for number in (2, 3))
    told = dict(zip(header, row, strict=True))
    assert told == {
        "CHECK": "✔ blog",
        "STATE": "up",
        "SEEN BY": "nas✔ vps✔",
        "LAST 24 H": "·····················▇▄▁",
        "24 H": "99.62 %",
        "30 D": "99.99 % of 12d",
        "LATENCY": "12 ms",
        "SINCE": "2h",
        "CERT": "14d",
    }
    expired = check("old", "up", vantage("nas"), certificate_expires_at="2026-02-01T00:00:00Z")
    assert "expired" in _line(answer(checks=[expired]), "✔ old")


def test_a_narrower_terminal_gets_fewer_columns_and_a_shorter_bar() -> None:
    uptime = {"24h": {"ratio": 0.99624, "coverage": 1.0}, "30d": {"ratio": 0.9999, "coverage": 1.0}}
    times = {"uptime": uptime, "hours": hours(*[1] * 24), "certificate_expires_at": "2026-03-15T12:00:00Z"}
    document = answer(checks=[check("www.example.net", "up", vantage("nas"), vantage("vps"), **times)])
    told = {fits: _told(document, fits) for fits in (140, 90, 80, 60, 40)}
    columns = {fits: re.split(r" {2,}", lines[2 if fits > 60 else 3]) for fits, lines in told.items() if fits >= 80}
    assert columns[140] == ["CHECK", "STATE", "SEEN BY", "LAST 24 H", "24 H", "30 D", "LATENCY", "SINCE", "CERT"]
    assert columns[90] == ["CHECK", "STATE", "SEEN BY", "LAST 24 H", "24 H", "LATENCY", "SINCE", "CERT"]
    assert columns[80] == ["CHECK", "STATE", "SEEN BY", "LAST 24 H", "24 H", "LATENCY", "SINCE", "CERT"]
    bars = {fits: max(line.count("▇") for line in lines) for fits, lines in told.items()}
    assert bars == {140: 24, 90: 12, 80: 12, 60: 12, 40: 0}
    assert "2h" in _line(document, "✔ www", 40), "since when is told in any case"


@pytest.mark.parametrize("fits", _WIDTHS)
def test_below_what_is_not_up_stands_who_saw_what_and_how_many_agree(fits: int) -> None:
    said = "status 503, expected 200 to 299; the body does not match the pattern that it should match"
    failing = [vantage(name, "fail", detail=said) for name in ("nas", "vps")]
    other = vantage("web", "fail", detail="connection refused")
    away = vantage("old", "unseen", detail="of long ago", assigned=False)
    shop = check("shop.example.net", "down", *failing, other, away, quorum=2)
    document = answer(checks=[check("blog", "up", vantage("nas")), shop, _API], nodes=[node("old", "away")])
    words = _words(document, fits)
    assert f"nas, vps: {said}; web: connection refused (3/3 fail, quorum 2) not counted: old (away)" in words
    assert "nyc: timeout (1/3 fail < quorum 2)" in words
    assert "of long ago" not in words, "it does not count"
    assert (
        words.index("✖ shop")
        < words.index(said)
        < words.index("◐ api")
        < words.index("nyc: timeout")
        < words.index("✔ blog")
    )


def test_of_what_nobody_sees_the_unseen_are_counted() -> None:
    lost = check("web", "unknown", vantage("fra", "unseen"), vantage("nyc", "unseen"), quorum=2)
    assert "2/2 unseen" in _told(answer(checks=[lost]))[4]
    half = check("web", "partial", vantage("fra", "fail"), vantage("nyc", "unseen"), vantage("lab"), quorum=2)
    assert "1/3 fail < quorum 2, 1 unseen" in _told(answer(checks=[half]))[4]


def test_a_vantage_that_does_not_count_is_marked_and_the_reason_told() -> None:
    others = [
        vantage("laptop", "unseen", assigned=False),
        vantage("vps", "unseen", assigned=False, presence="silent"),
        vantage("nas", "fail", detail="refused", excluded="its own network fails", broken=True),
        vantage("old", "fail", excluded="it counts nowhere"),
    ]
    web = check("web", "down", vantage("fra", "fail", detail="status 503"), *others)
    document = answer(checks=[web], nodes=[node("laptop", "away"), node("vps", "alive")])
    assert "fra✖ laptop☾ vps○ nas⚠ old·" in _line(document, "✖ web")
    assert "not counted: laptop (away); vps (silent); nas (its own network fails); old (it counts nowhere)" in _words(
        document
    )
    assert "refused" not in _words(document)


def test_of_many_vantages_those_that_pass_are_only_counted_unless_all_is_wanted() -> None:
    many = check("web", "partial", *(vantage(f"n{number}") for number in range(20)), vantage("bad", "fail"), quorum=11)
    assert "20✔ bad✖" in _line(answer(checks=[many]), "◐ web", 80)
    assert "n0✔ n1✔" in _line(answer(checks=[many]), "◐ web", wanted=Wanted(everything=True))


def test_the_worst_stands_first_then_the_name() -> None:
    worst_first = ["down", "partial", "silent", "flapping", "late", "unknown", "paused", "up"]
    names = {f"{letter}-{state}": state for state in reversed(worst_first) for letter in "ba"}
    lines = _told(answer(checks=[check(name, state, vantage("nas")) for name, state in names.items()]))
    rows = [line.split()[1] for line in lines if "-" in line]
    assert rows == [f"{letter}-{state}" for state in worst_first for letter in "ab"]


def test_a_state_of_a_later_version_is_taken_for_unknown() -> None:
    document = answer(checks=[check("web", "haunted", vantage("nas", "abstain")), check("blog", "up", vantage("nas"))])
    assert _line(document, "? web").split() == ["?", "web", "haunted", "nas·", "2h"]


def test_many_that_are_up_are_counted_and_what_is_not_is_always_shown() -> None:
    checks = [check(f"up{number:02}", "up", vantage("nas")) for number in range(30)]
    checks += [check(f"bad{number:02}", "down", vantage("nas", "fail")) for number in range(30)]
    document = answer(checks=checks)
    lines = _told(document)
    assert sum(line.startswith("✖ bad") for line in lines) == 30
    assert "and 20 more up (demesh status --all shows them)" in _words(document)
    for wanted in (Wanted(everything=True), Wanted(names=("up*", "bad*"))):
        assert sum(line.startswith("✔ up") for line in _told(document, wanted=wanted)) == 30
    assert not any(line.startswith("✔") for line in _told(document, wanted=Wanted(only_down=True)))
    few = answer(checks=checks[:11])
    assert "more" not in _words(few), "to tell of one more is no shorter than to show it"


def test_when_nothing_is_down_it_says_so() -> None:
    checks = [check("blog", "up", vantage("nas")), check("shop", "paused", vantage("nas"))]
    assert "All is well: 1 up, 1 paused." in _told(answer(checks=checks), wanted=Wanted(only_down=True))


@pytest.mark.parametrize(
    ("name", "chosen"),
    [("web", ["web"]), ("WEB1", ["web10", "web11"]), ("w*1", ["web11"]), ("b", ["web", "web10", "web11"])],
)
def test_a_name_means_a_check_or_all_that_have_it_in_theirs_or_a_pattern(name: str, chosen: list[str]) -> None:
    checks = [check(each, "up", vantage("nas")) for each in ("web", "web10", "web11", "shop")]
    lines = _told(answer(checks=checks), wanted=Wanted(names=(name,)))
    assert [line.split()[1] for line in lines if line.startswith("✔")] == chosen


@pytest.mark.parametrize("fits", [20, 30, *_WIDTHS])
def test_no_line_is_wider_than_the_terminal_and_no_name_is_cut_off(fits: int) -> None:
    names = ["www.a-rather-long-name.example.net:8443/health", "日本語のとても長いサイトの名前です", "กรุงเทพ", "x"]
    checks = [
        check(
            name,
            state,
            *(vantage(f"{each}{name}", "fail", detail=name) for each in "abc"),
            since="2025-01-02T03:04:05Z",
        )
        for name in names
        for state in ("down", "flapping", "up")
    ]
    nodes = [node(name, "away", back_by="2026-03-01T14:05:00Z") for name in names]
    document = answer(checks=checks, nodes=nodes, incidents=[incident(name) for name in names])
    whole = "".join("".join(_told(document, fits)).split())
    for name in names:
        assert whole.count(name) >= 3 or len(name) > fits // 3


@pytest.mark.parametrize("text", ["[/]", "[bold]x[/bold]", "[link=http://a]b", "[nas]"])
def test_what_others_call_themselves_is_no_markup(text: str) -> None:
    checks = [check(text, "down", vantage(text, "fail", detail=text))]
    document = answer(checks=checks, nodes=[node(text)], incidents=[incident(text, since=None)])
    assert "\n".join(_told(document)).count(text) >= 4


@pytest.mark.parametrize(
    ("ratio", "coverage", "shown"),
    [(1.0, 1.0, "100 %"), (0.99999, 1.0, "99.99 %"), (0.5, 0.95, "50 %"), (0.9, 0.5, "90 % of 12h"), (None, 0.0, "")],
)
def test_uptime_never_rounds_up_and_says_when_little_was_observed(
    ratio: float | None, coverage: float, shown: str
) -> None:
    blog = check("blog", "up", vantage("nas"), since=None, uptime={"24h": {"ratio": ratio, "coverage": coverage}})
    assert " ".join(_line(answer(checks=[blog]), "✔ blog").split()) == f"✔ blog up nas✔ {shown} 12 ms".replace(
        "  ", " "
    )


def test_a_month_of_which_no_more_than_a_day_was_observed_is_not_told_twice() -> None:
    uptime = {"24h": {"ratio": 1.0, "coverage": 0.5}, "30d": {"ratio": 1.0, "coverage": 0.5 / 30}}
    assert "30 D" not in _words(answer(checks=[check("blog", "up", vantage("nas"), uptime=uptime)]))


@pytest.mark.parametrize("lines_max", [3, 12, 20, 24, 60])
def test_a_frame_is_no_higher_than_the_terminal_and_what_is_up_gives_way_first(lines_max: int) -> None:
    checks = [check(f"up{number:02}", "up", vantage("nas")) for number in range(30)]
    checks.append(check("shop", "down", vantage("nas", "fail", detail="status 503")))
    document = answer(checks=checks, incidents=[incident("shop")])
    lines = ["".join(text for text, _ in line) for line in frame(document, Wanted(), Asked(), 80, lines_max)]
    assert len(lines) <= lines_max
    if lines_max == 3:
        assert lines[-1].startswith("… more than there is room for")
    else:
        assert any(line.startswith("✖ shop") for line in lines)
        assert any(line.startswith("! DemeshCheckDown shop") for line in lines)
        assert any("more up" in line or line.strip().startswith("and 30 up") for line in lines)


def test_a_frame_of_a_mesh_that_is_all_down_tells_that_there_is_more() -> None:
    checks = [check(f"bad{number:03}", "down", vantage("nas", "fail")) for number in range(500)]
    lines = ["".join(text for text, _ in line) for line in frame(answer(checks=checks), Wanted(), Asked(), 80, 24)]
    assert len(lines) == 24
    assert "500 down" in lines[0]
    assert lines[-1].startswith("… more than there is room for")
