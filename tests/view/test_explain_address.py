"""Where a name leads is told among the steps when it changes, and never so often that nothing else is seen."""

from collections.abc import Iterable

from demesh.api.explain_models import StepModel
from tests.view.build import ERROR, PASS, result, row
from tests.view.telling import MINUTE_MS, Pile, Vantages, lines, told

OLD, NEW = "192.0.2.1", "192.0.2.7"


def _found(mesh: Vantages, addresses: Iterable[str | None], name: str = "a", first: int = 1) -> int:
    """`name` runs the check once a minute and finds it there, as its author tells that; returns the last minute."""
    minute = first
    for minute, address in enumerate(addresses, first):
        at_ms = minute * MINUTE_MS
        mesh.write(name, mesh.members[name].results(at_ms, result(PASS, at_ms, address=address)))
    return minute


def _addresses(answer: dict[str, object]) -> list[dict[str, object]]:
    steps = answer["steps"]
    assert isinstance(steps, list)
    return [each for each in steps if each["what"] == "address"]


def test_a_change_is_a_step_with_both_addresses_in_words_and_as_data() -> None:
    mesh = Vantages("a", "b")
    _found(mesh, [OLD, None, None, NEW, None])
    _found(mesh, [OLD, None, None, None, None], "b")
    answer = mesh.told()
    assert "17:20 a the name leads to 192.0.2.7 now, to 192.0.2.1 before" in lines(answer)
    (step,) = _addresses(answer)
    assert (step["node"], step["address"], step["address_before"], step["rotates"]) == ("a", NEW, OLD, False)
    assert step["seq"] == 5
    assert step.keys() <= StepModel.model_fields.keys(), "the API says what there is"


def test_it_changes_no_vote_and_no_verdict() -> None:
    mesh = Vantages("a")
    _found(mesh, [OLD, None, NEW, None])
    answer = mesh.told(until_ms=4 * MINUTE_MS)
    (step,) = _addresses(answer)
    assert "leads_to" not in step
    assert answer["closing"]["verdict"] == "up"


def test_an_error_that_tells_no_address_is_no_change() -> None:
    mesh = Vantages("a")
    last = _found(mesh, [OLD, None])
    at_ms = (last + 1) * MINUTE_MS
    mesh.write("a", mesh.members["a"].results(at_ms, result(ERROR, at_ms)))
    _found(mesh, [OLD, None], first=last + 2)
    assert _addresses(mesh.told()) == []


def test_a_pool_floods_no_explanation_wherever_its_window_begins() -> None:
    mesh = Vantages("a")
    last = _found(mesh, (f"198.51.{n // 250}.{n % 250}" for n in range(600)))
    for since in (0, 60, 300):
        found = _addresses(mesh.told(since_ms=since * MINUTE_MS, until_ms=last * MINUTE_MS))
        assert [each["rotates"] for each in found] == [False] * 4 + [True]
    assert str(found[-1]["text"]).startswith("the name leads to another address with almost every look, to 198.51.1.")


def test_of_all_addresses_of_a_name_a_change_is_told_as_that_of_one() -> None:
    mesh = Vantages("a")
    _found(mesh, [f"{OLD},{NEW}", None, f"{NEW},192.0.2.9"])
    (step,) = _addresses(mesh.told())
    assert step["text"] == "the name leads to 192.0.2.7,192.0.2.9 now, to 192.0.2.1,192.0.2.7 before"


def test_nothing_follows_from_entries_that_are_not_held() -> None:
    mesh = Vantages("a")
    last = _found(mesh, [OLD, None, None])
    _found(mesh, [None, NEW], first=last + 1)
    held = [each for each in mesh.written if each[1].seq != 4]
    answer = told(Pile(held), "web", 0, 60 * MINUTE_MS)
    assert any(step["what"] == "missing" for step in answer["steps"])
    assert _addresses(answer) == []


def test_which_of_a_nodes_own_resolvers_answered_is_not_told() -> None:
    mesh = Vantages("a", type="dns", target="dns:///web.example.net")
    _found(mesh, [OLD, NEW])
    assert _addresses(mesh.told()) == []


def test_another_target_is_no_change_of_the_first_ones_address() -> None:
    mesh = Vantages("a")
    last = _found(mesh, [OLD])
    mesh.write("a", mesh.members["a"].plan(last * MINUTE_MS + 1, row("web", target="https://other.example.net/")))
    _found(mesh, [NEW], first=last + 1)
    assert _addresses(mesh.told()) == []
