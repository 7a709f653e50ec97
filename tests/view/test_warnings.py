"""What members warn of is shown for a day, and nobody warns of the same thing more than once an hour."""

import pytest

from demesh import limits
from demesh.errors import EntryError
from demesh.log.entry import Kind
from demesh.log.event import Event, warning
from demesh.view.warnings import AGAIN_MS, SHOWN_MS, Warned, fold_warning, may_warn, newest
from tests.view.build import OWN, WALL_MS, MemberLog, deliver, new_view

_BOOT8 = b"boot0000"


def _warned(subject: str = "retention", up_ms: int = 0, seq: int = 0) -> Warned:
    return Warned(seq, subject, "full", WALL_MS + up_ms, _BOOT8, up_ms)


def test_a_warning_is_known_by_its_author_with_its_time() -> None:
    view, peer = new_view(), MemberLog("peer")
    deliver(view, peer, [*peer.start(0), peer.entry(Kind.EVENT, warning("retention", "full").payload(), 7_000)], 7_000)
    assert view.warnings() == {peer.key: [_warned(up_ms=7_000, seq=2)]}
    assert view.skipped == 0


def test_warnings_of_all_epochs_of_a_member_are_known() -> None:
    view = new_view()
    logs = [MemberLog("peer", epoch=epoch, boot=epoch) for epoch in range(2)]
    for epoch, log in enumerate(logs):
        deliver(view, log, [*log.start(0), log.entry(Kind.EVENT, warning("a", str(epoch)).payload(), 0)], 0)
    assert sorted(each.text for each in view.warnings()[logs[0].key]) == ["0", "1"]


def test_only_the_newest_of_a_log_are_kept_in_whatever_order_they_come() -> None:
    peer, known = MemberLog("peer"), list[Warned]()
    entries = [peer.entry(Kind.EVENT, warning("a", str(number)).payload(), number) for number in range(50)]
    for entry in [*entries[25:], *entries]:
        fold_warning(known, entry)
    assert [each.seq for each in known] == list(range(50))[-limits.WARNINGS_PER_LOG_MAX :]


def test_another_event_and_one_that_cannot_be_read_are_no_warnings() -> None:
    peer, known = MemberLog("peer"), list[Warned]()
    fold_warning(known, peer.entry(Kind.EVENT, Event("of a later version", "a", {"text": "b"}).payload(), 0))
    with pytest.raises(EntryError):
        fold_warning(known, peer.entry(Kind.EVENT, [], 0))
    assert known == []


def test_a_long_text_is_cut_to_what_an_entry_may_hold() -> None:
    peer, known = MemberLog("peer"), list[Warned]()
    fold_warning(known, peer.entry(Kind.EVENT, warning("a", "ü" * 5_000).payload(), 0))
    assert known[0].text == "ü" * limits.TEXT_CHARS_MAX


@pytest.mark.parametrize(
    ("subject", "boot8", "later_ms", "may"),
    [
        ("retention", _BOOT8, 0, False),
        ("retention", _BOOT8, AGAIN_MS - 1, False),
        ("retention", _BOOT8, AGAIN_MS, True),
        ("configuration", _BOOT8, 0, True),
        ("retention", b"another ", 0, True),
    ],
)
def test_of_one_subject_a_node_warns_once_an_hour(subject: str, boot8: bytes, later_ms: int, may: bool) -> None:
    assert may_warn([_warned(up_ms=500)], subject, boot8, 500 + later_ms) == may


def test_those_of_a_day_are_shown_the_newest_first() -> None:
    known = [_warned(up_ms=up_ms) for up_ms in (0, 1_000, SHOWN_MS, 3 * SHOWN_MS)]
    assert [each.up_ms for each in newest(known, WALL_MS + SHOWN_MS)] == [SHOWN_MS, 1_000]
    many = [_warned(up_ms=number) for number in range(100)]
    assert len(newest(many, WALL_MS)) == limits.WARNINGS_PER_LOG_MAX


def test_before_anybody_warned_nobody_did() -> None:
    view = new_view()
    deliver(view, OWN, OWN.start(0), 0)
    assert view.warnings() == {OWN.key: []}
