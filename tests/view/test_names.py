"""What members are called: what they say, unless that would make one of two."""

from demesh.identity import peer_id
from demesh.view.member import Member
from demesh.view.names import names_of_everyone, shown_names
from tests.view.build import MemberLog, deliver, new_view, row

_A, _B, _C = MemberLog("a"), MemberLog("b"), MemberLog("c")


def _end(member: MemberLog) -> str:
    return peer_id(member.key)[-6:]


def _called(**names: MemberLog) -> dict[bytes, str]:
    return shown_names(_members({author: name.replace("_", "~") for name, author in names.items()}))


def _members(names: dict[MemberLog, str]) -> list[Member]:
    view = new_view()
    for author, name in names.items():
        again = MemberLog(author.name)
        deliver(view, again, again.hello(0, name), 0)
    return view.members()


def test_a_name_that_only_one_has_is_shown_as_it_is() -> None:
    assert _called(nas=_A, web=_B) == {_A.key: "nas", _B.key: "web"}


def test_names_that_clash_are_told_apart_by_the_peer_id() -> None:
    names = shown_names(_members({_A: "nas", _B: "nas", _C: "web"}))
    assert names == {_A.key: f"nas~{_end(_A)}", _B.key: f"nas~{_end(_B)}", _C.key: "web"}


def test_nobody_is_called_as_another_is_shown() -> None:
    names = shown_names(_members({_A: "nas", _B: "nas", _C: f"nas~{_end(_A)}"}))
    assert len(set(names.values())) == 3
    assert names[_B.key] == f"nas~{_end(_B)}"


def test_once_one_has_left_the_other_has_its_name_back() -> None:
    view = new_view()
    for author in (_A, _B):
        again = MemberLog(author.name)
        deliver(view, again, [again.hello(0, "nas"), again.plan(0, row())], 0)
    gone = view.member(_A.key)
    assert gone is not None
    assert names_of_everyone(view) == {_A.key: f"nas~{_end(_A)}", _B.key: f"nas~{_end(_B)}"}
    gone.gone = True
    assert names_of_everyone(view) == {_A.key: f"nas~{_end(_A)}", _B.key: "nas"}
