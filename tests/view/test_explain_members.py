"""What of its members changes a verdict in a replay: boots, leaves, definitions; and which tellings are of which outage."""

from demesh.identity import peer_id
from demesh.log.bye import LEFT, Bye
from demesh.log.entry import Kind
from tests.view.build import row
from tests.view.telling import MINUTE_MS, Vantages, all_fail, all_pass, lines


def test_a_vote_does_not_outlive_a_boot() -> None:
    mesh = Vantages()
    mesh.minute(1, **all_pass())
    mesh.members["c"].boot8 = b"boot0007"
    mesh.write("c", mesh.members["c"].results(MINUTE_MS + 65_000))
    answer = mesh.told(since_ms=MINUTE_MS + 62_000, until_ms=MINUTE_MS + 70_000)
    assert lines(answer) == [
        "15:25 c its vote lapsed: another boot",
        "15:25 c goes on after a reboot of its machine; 5s without an entry",
    ]
    assert (answer["closing"]["passes"], answer["closing"]["unseen"]) == (2, 1)


def test_who_left_or_was_forgotten_counts_no_more() -> None:
    mesh = Vantages()
    for minute in (1, 2, 3):
        mesh.minute(minute, **all_pass())
    mesh.write("c", mesh.members["c"].entry(Kind.BYE, Bye(LEFT, 2**50).payload(), 3 * MINUTE_MS + 61_000))
    mesh.event("a", 3, "forget", peer_id(mesh.members["b"].key), log="", seq="0")
    answer = mesh.told(since_ms=2 * MINUTE_MS, until_ms=3 * MINUTE_MS + 62_000)
    assert [(each["node"], each["vote"]) for each in answer["closing"]["vantages"]] == [("a", "pass")]
    assert answer["closing"]["quorum"] == 1


def test_the_definition_that_most_living_members_hold_is_the_one_that_counts() -> None:
    for changed in ("a", "c"):  # whichever of the two has the larger hash
        mesh = Vantages()
        other = row("web", target="https://other.example.net/")
        for name in mesh.members:
            mesh.write(name, mesh.members[name].plan(1_000, other if name == changed else mesh.row))
        for minute in (1, 2, 3):
            mesh.minute(minute, **{**all_pass(), changed: all_fail()[changed]})
        assert mesh.told(until_ms=3 * MINUTE_MS + 30_000)["closing"]["verdict"] == "up"
    mesh = Vantages()
    for name in "ab":
        mesh.write(name, mesh.members[name].plan(1_000, row("web", target="https://other.example.net/")))
    for minute in (1, 2, 3):
        mesh.minute(minute, **{**all_fail("ab"), **all_pass("c")})
    assert mesh.told(until_ms=3 * MINUTE_MS + 30_000)["closing"]["verdict"] == "down"


def test_a_telling_is_of_the_outage_that_it_follows() -> None:
    mesh = Vantages()
    for minute in range(1, 20):
        mesh.minute(minute, **(all_fail() if minute in (5, 6, 7, 14, 15, 16) else all_pass()))
        if minute in (2, 7, 15):
            mesh.event("c", minute, "notified", "web", sink=f"after {minute}", state="firing")
    spells = [each for each in mesh.told(until_ms=19 * MINUTE_MS)["spells"] if each["verdict"] == "down"]
    assert [[told["sink"] for told in each["told"]] for each in spells] == [["after 7"], ["after 15"]]


def test_who_fell_silent_long_before_the_window_is_known_to_be_silent() -> None:
    mesh = Vantages()
    for minute in range(1, 110):
        mesh.minute(minute, **all_pass("abc" if minute < 4 else "ab"))
    answer = mesh.told(since_ms=100 * MINUTE_MS, until_ms=109 * MINUTE_MS)
    assert {each["node"]: each["excluded"] for each in answer["closing"]["vantages"]} == {
        "a": None,
        "b": None,
        "c": "silent",
    }
    assert mesh.told("c", since_ms=100 * MINUTE_MS, until_ms=109 * MINUTE_MS)["closing"] == "silent"
