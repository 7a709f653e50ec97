"""The line that systemctl shows."""

from demesh.systemd.status import Glance, status_line
from demesh.view.verdict import Verdict


def test_it_says_how_many_the_worst_first() -> None:
    verdicts = [Verdict.UP, Verdict.DOWN, Verdict.UP, Verdict.PAUSED, Verdict.PARTIAL]
    assert status_line(Glance(2, 3, verdicts)) == "2/3 peers, 1 down, 1 partial, 1 paused, 2 up"
    assert status_line(Glance(0, 0, [])) == "0/0 peers"


def test_every_verdict_is_counted() -> None:
    assert all(f"1 {each}" in status_line(Glance(0, 0, [each])) for each in Verdict)


def test_what_is_wrong_with_the_node_itself_stands_first() -> None:
    line = status_line(Glance(0, 3, [Verdict.UP], network_runs=False, config_good=False))
    assert line == (
        "the changed configuration is refused, an older one is in force, the network is being built anew, 0/3 peers, 1 up"
    )
