"""When a node has to begin to listen anew, and when its word to sinks waits."""

from demesh.view.listening import Heard, Listening


def test_who_looks_every_second_and_hears_has_missed_nothing() -> None:
    listening = Listening(0, 0)
    assert [listening.look(1_000 * n, 0, hears=True) for n in range(1, 9)] == [Heard()] * 8


def test_a_process_that_was_stopped_and_a_machine_that_slept_listen_anew() -> None:
    stopped, slept = Listening(0, 0), Listening(0, 0)
    assert stopped.look(300_000, 0, hears=True) == Heard(300_000, 0, waits=True)
    assert slept.look(1_000, 7_200_000, hears=True) == Heard(7_201_000, 0, waits=True)
    assert stopped.look(301_000, 0, hears=True) == slept.look(2_000, 7_200_000, hears=True) == Heard()


def test_who_cannot_hear_accuses_nobody_and_still_speaks() -> None:
    listening = Listening(0, 0)
    looks = [listening.look(1_000 * n, 0, hears=False) for n in range(1, 61)]
    assert [look.anew_since_ms for look in looks] == [None] * 5 + [0] * 55
    assert [look.waits for look in looks] == [False] * 5 + [True] + [False] * 54


def test_who_hears_again_waits_for_what_others_have_told() -> None:
    listening = Listening(0, 0)
    for n in range(1, 61):
        listening.look(1_000 * n, 0, hears=False)
    assert listening.look(61_000, 0, hears=True) == Heard(None, 0, waits=True)
    assert listening.look(62_000, 0, hears=True) == Heard()


def test_a_moment_without_others_is_none() -> None:
    listening = Listening(0, 0)
    assert listening.look(1_000, 0, hears=False) == listening.look(2_000, 0, hears=True) == Heard()
