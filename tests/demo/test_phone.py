"""The phone shows one alert for one fault, however many nodes tell it, as an Alertmanager would."""

import pytest

from demesh.demo.phone import SETTLE_MS, Alert, Phone, What, read_alerts

_LATER_MS = 120_000


def _alert(ends_ms: int, severity: str = "critical", check: str = "shop", summary: str = "shop is down") -> Alert:
    labels = {"alertname": "DemeshCheckDown", "check": check, "severity": severity}
    return Alert(tuple(sorted(labels.items())), summary, ends_ms)


def test_it_rings_once_however_many_nodes_tell_it() -> None:
    phone = Phone()
    first = phone.take([_alert(_LATER_MS, summary="2 of 3 agree")], 1_000)
    assert [(call.what, call.alert.title) for call in first] == [(What.BEGAN, "DemeshCheckDown shop")]
    assert phone.take([_alert(_LATER_MS, summary="3 of 3 agree")], 1_100) == []
    assert phone.take([_alert(_LATER_MS + 30_000)], 31_000) == []
    assert phone.rung == ["DemeshCheckDown shop"]


def test_alerts_with_other_labels_are_other_alerts() -> None:
    phone = Phone()
    phone.take([_alert(_LATER_MS), _alert(_LATER_MS, check="db")], 1_000)
    assert phone.rung == ["DemeshCheckDown shop", "DemeshCheckDown db"]


def test_the_end_is_shown_once_and_only_when_it_lasts() -> None:
    phone = Phone()
    phone.take([_alert(_LATER_MS)], 1_000)
    phone.take([_alert(5_000)], 5_000)
    assert phone.take([_alert(_LATER_MS)], 5_500) == [], "a node that is behind the others rings nobody anew"
    assert phone.tick(5_000 + SETTLE_MS) == []
    phone.take([_alert(8_000)], 8_000)
    phone.take([_alert(8_000)], 8_500)
    assert phone.tick(8_000 + SETTLE_MS - 1) == []
    ended = phone.tick(8_000 + SETTLE_MS)
    assert [(call.what, call.alert.title, call.told) for call in ended] == [(What.ENDED, "DemeshCheckDown shop", 2)]
    assert phone.tick(_LATER_MS * 2) == []
    assert phone.take([_alert(8_000)], 11_000) == [], "what is over is told again for a while"


def test_it_rings_again_for_what_comes_again() -> None:
    phone = Phone()
    phone.take([_alert(_LATER_MS)], 1_000)
    phone.take([_alert(5_000)], 5_000)
    phone.tick(5_000 + SETTLE_MS)
    phone.take([_alert(_LATER_MS)], 60_000)
    assert phone.rung == ["DemeshCheckDown shop"] * 2


def test_an_alert_of_which_nobody_tells_any_more_ends_at_its_time() -> None:
    phone = Phone()
    phone.take([_alert(_LATER_MS)], 1_000)
    assert phone.tick(_LATER_MS - 1) == []
    assert [call.what for call in phone.tick(_LATER_MS + SETTLE_MS)] == [What.ENDED]


def test_what_is_not_critical_is_noted_without_a_ring_and_a_sign_of_life_not_at_all() -> None:
    phone = Phone()
    calls = phone.take([_alert(_LATER_MS, "warning"), _alert(_LATER_MS, "none", check="watchdog")], 1_000)
    assert [(call.what, call.alert.rings) for call in calls] == [(What.BEGAN, False)]
    assert phone.rung == []


def test_alerts_are_read_as_alertmanager_takes_them() -> None:
    labels = {"alertname": "DemeshNodeSilent", "node": "lab", "severity": "critical"}
    document = [
        {"labels": labels, "annotations": {"summary": "node lab is silent"}, "endsAt": "1970-01-01T00:02:00Z"},
        {"labels": labels, "endsAt": "1970-01-01T00:00:05.250+00:00"},
    ]
    first, second = read_alerts(document)
    assert (first.title, first.summary, first.ends_ms) == ("DemeshNodeSilent lab", "node lab is silent", 120_000)
    assert (second.labels, second.ends_ms) == (first.labels, 5_250)
    for bad in ({}, [1], [{"labels": {}}], [{"labels": [], "endsAt": "x"}]):
        if bad:
            with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
                read_alerts(bad)
