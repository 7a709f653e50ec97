"""The demo believes what nodes say: what they are waited for to say, what they lack, and what has turned."""

from typing import Any

import pytest

from demesh.demo.sight import CheckSight, Sight, changes, lacking

_DOWN = Sight((CheckSight("shop", "down", passing=1, failing=2),), (("lab", "alive"),), (("DemeshCheckDown", "shop"),))


def _answer(state: str = "down", votes: str = "fpf", lab: str = "alive", *, settled: bool = True) -> dict[str, Any]:
    said = {"p": "pass", "f": "fail", "u": "unseen"}
    vantages = [
        {"node": node, "vote": said[vote], "assigned": True}
        for node, vote in zip(("fra", "nyc", "lab"), votes, strict=True)
    ]
    vantages.append({"node": "old", "vote": "fail", "assigned": False})
    return {
        "settled": settled,
        "checks": [{"name": "shop", "state": state, "vantages": vantages}],
        "nodes": [{"name": "lab", "presence": lab}],
        "incidents": [{"name": "DemeshCheckDown", "subject": "shop"}],
    }


def test_nothing_lacks_once_all_say_so() -> None:
    assert lacking(_DOWN, {"fra": _answer(), "nyc": _answer()}) == ""


@pytest.mark.parametrize(
    ("answer", "lack"),
    [
        (None, "nyc: no answer yet"),
        (_answer("up"), "nyc: shop is up (fra✖ nyc✔ lab✖)"),
        (_answer(votes="fff"), "nyc: shop is down (fra✖ nyc✖ lab✖)"),
        (_answer(votes="fuf"), "nyc: shop is down (fra✖ nyc· lab✖)"),
        (_answer(lab="suspect"), "nyc: lab is suspect"),
        ({**_answer(), "nodes": []}, "nyc: lab is not known yet"),
        ({**_answer(), "incidents": []}, "nyc: DemeshCheckDown shop is not open yet"),
        ({**_answer(), "checks": []}, "nyc: shop is not known yet"),
        (_answer(settled=False), "nyc: it has not heard of all yet"),
    ],
)
def test_one_that_says_something_else_lacks_it(answer: dict[str, Any] | None, lack: str) -> None:
    assert lacking(_DOWN, {"fra": _answer(), "nyc": answer}) == lack


def test_those_who_say_the_same_are_told_together() -> None:
    said = lacking(_DOWN, {"fra": _answer(lab="silent"), "nyc": _answer(lab="silent"), "lab": None})
    assert said == "fra, nyc: lab is silent; lab: no answer yet"


def test_only_what_turned_is_told() -> None:
    before = _answer("up", "ppp")
    assert changes(before, before) == []
    assert changes(before, _answer("partial", "pfp")) == [("shop is partial (fra✔ nyc✖ lab✔)", "partial")]
    assert changes(before, _answer("up", "ppp", lab="silent")) == [("lab is silent", "silent")]
    assert changes(None, before) == changes(before, None) == []
