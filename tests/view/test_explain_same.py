"""The same logs, the same explanation: however entries arrived, and what a node that saw all at once would have said then."""

import json
from collections.abc import Mapping, Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from demesh.outcome import Outcome
from demesh.view.report import Json
from tests.log.builders import generated
from tests.view.build import OWN, PASS, MemberLog, check_of, deliver, new_view
from tests.view.telling import MINUTE_MS, Pile, Vantages, Written, told

_MINUTES = 14
_OUTCOMES = st.sampled_from([*Outcome, PASS, PASS, None])
_RUNS = st.lists(st.fixed_dictionaries(dict.fromkeys("abc", _OUTCOMES)), min_size=3, max_size=_MINUTES)


def _written(runs: Sequence[Mapping[str, Outcome | None]], keys: tuple[tuple[str, str], ...] = ()) -> Written:
    mesh = Vantages(keys=keys)
    for minute, found in enumerate(runs, 1):
        mesh.minute(minute, **{name: outcome for name, outcome in found.items() if outcome is not None})
        mesh.event("abc"[minute % 3], minute, "notified", "web", sink="ops", state="firing")
    return mesh.written


def _bytes(answer: Json) -> bytes:
    return json.dumps(answer, indent=2).encode()


@generated
@given(_RUNS, st.randoms(use_true_random=False), st.integers(0, 5), st.sampled_from(["web", "a"]))
def test_neither_the_order_of_arrival_nor_how_entries_were_split_matters(
    runs: Sequence[Mapping[str, Outcome | None]], random: object, since_minute: int, name: str
) -> None:
    written = _written(runs)
    window = since_minute * MINUTE_MS, len(runs) * MINUTE_MS
    mixed = list(written)
    random.shuffle(mixed)  # pyright: ignore[reportAttributeAccessIssue] hypothesis's own
    cut = len(mixed) // 3
    first = told(Pile(written), name, *window)
    assert _bytes(told(Pile(mixed), name, *window)) == _bytes(first)
    assert _bytes(told(Pile(mixed[cut:], mixed[:cut], mixed[cut // 2 :]), name, *window)) == _bytes(first)


_ALL: dict[str, Outcome | None] = dict.fromkeys("abc", PASS)
_FLAPPED: list[dict[str, Outcome | None]] = [
    *(5 * [_ALL]),
    *({**_ALL, name: Outcome.FAIL} for name in "bcb"),
    _ALL,
    {**_ALL, "b": Outcome.FAIL, "c": Outcome.FAIL},
    _ALL,
    {**_ALL, "b": None, "c": Outcome.FAIL},
    {**_ALL, "b": None},
]
"""b and c go back and forth; then b says no more."""


@generated
@given(_RUNS, st.sampled_from([(), (("listed", "true"),)]))
@example(_FLAPPED, ())
def test_the_verdict_is_what_a_view_says_to_which_all_came_at_once(
    runs: Sequence[Mapping[str, Outcome | None]], keys: tuple[tuple[str, str], ...]
) -> None:
    """The view and the replay are two ways to one rule: they must not drift apart."""
    written = _written(runs, keys)
    view = new_view()
    deliver(view, OWN, OWN.hello(0), 0)
    authors = {MemberLog(name).key: MemberLog(name) for name in "abc"}
    pending = sorted(written, key=lambda each: each[1].up_ms)
    for minute in range(1, len(runs) + 6):
        now_ms = minute * MINUTE_MS + 59_000
        while pending and pending[0][1].up_ms <= now_ms:
            key, entry = pending.pop(0)
            deliver(view, authors[key], entry, entry.up_ms)
        said = told(Pile(written), "web", 0, now_ms)["closing"]
        check = check_of(view, now_ms)
        tally = check.tally
        assert (said["verdict"], said["passes"], said["fails"], said["unseen"], said["quorum"]) == (
            str(check.verdict),
            tally.passes,
            tally.fails,
            tally.unseen,
            tally.quorum,
        ), f"at minute {minute}"


def test_a_stepped_wall_clock_changes_no_step() -> None:
    def steps(skew_ms: int) -> list[tuple[str, str]]:
        mesh = Vantages()
        for minute in range(1, 12):
            mesh.members["a"].skew_ms = skew_ms if minute in (4, 5) else 0
            mesh.minute(minute, a=Outcome.FAIL if minute > 6 else PASS, b=PASS, c=Outcome.FAIL if minute > 7 else PASS)
        answer = mesh.told(since_ms=0, until_ms=11 * MINUTE_MS)
        return [(step["at"], step["text"]) for step in answer["steps"]]

    assert steps(-40 * MINUTE_MS) == steps(0) == steps(5 * MINUTE_MS)


def test_nothing_of_who_asks_is_in_it() -> None:
    answer = told(Pile(_written([dict.fromkeys("abc", PASS)] * 3)), "web", 0, 3 * MINUTE_MS)
    assert (answer["since"], answer["until"]) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:16:20.000Z")
    assert set(answer) == {
        *("check", "mesh", "since", "until", "complete", "entries", "opening", "steps", "steps_left_off", "spells"),
        *("closing", "conclusion", "logs"),
    }
