"""No host is crowded, and blocking types have pools of their own. Virtual time."""

from itertools import pairwise

import pytest
import trio

from demesh import limits
from demesh.checks.politeness import host_of
from demesh.probes.base import ProbeSpec
from tests.checks.bench import Bench, at_once, check_of, taking


@pytest.mark.trio
async def test_one_host_gets_few_probes_at_a_time_and_the_others_wait_for_nothing(autojump_clock: object) -> None:
    count = 3 * limits.PROBES_PER_HOST_MAX
    bench = Bench(taking(4))
    crowd = [check_of(f"crowd{n}", target=f"https://crowd.example.net/{n}") for n in range(count)]
    async with bench.running(*crowd, check_of("web")):
        await trio.sleep(3.9)
        assert len(bench.began_ms("crowd")) == limits.PROBES_PER_HOST_MAX
        assert len(bench.began_ms("web")) == 1
        await trio.sleep(20)
    assert len(bench.runs) == count + 1
    waited = [run for run in bench.runs if run.check >= limits.PROBES_PER_HOST_MAX and run.check < count]
    assert all(run.lateness_ms > 1_000 for run in waited)
    assert bench.runs[-1].check == count or bench.ended_ms(count)[0] < 6_600


@pytest.mark.trio
async def test_starts_at_one_host_keep_their_distance(autojump_clock: object) -> None:
    bench = Bench(at_once)
    async with bench.running(
        *(check_of(f"n{n}", target=f"tcp://db.example.net:{n}", interval_ms=1_000) for n in range(1, 40))
    ):
        await trio.sleep(0.999)
    gaps_ms = [after - before for before, after in pairwise(bench.began_ms())]
    assert len(gaps_ms) == 38
    assert min(gaps_ms) == limits.HOST_SPACING_MS


@pytest.mark.trio
@pytest.mark.parametrize(
    ("type_", "most"), [("command", limits.COMMANDS_IN_FLIGHT_MAX), ("python", limits.PLUGINS_IN_FLIGHT_MAX)]
)
async def test_blocking_types_have_a_smaller_pool_and_starve_nobody(
    autojump_clock: object, type_: str, most: int
) -> None:
    async def probe(spec: ProbeSpec) -> object:
        return await (taking(30) if spec.type == type_ else at_once)(spec)

    bench = Bench(probe)  # type: ignore[arg-type]
    blocking = [check_of(f"slow{n}", type=type_, target=f"//slow{n}", timeout_ms=60_000) for n in range(300)]
    async with bench.running(*blocking, check_of("web", interval_ms=1_000)):
        await trio.sleep(20)
    assert bench.in_flight_max == most + 1
    assert len(bench.ended_ms(300)) >= 15
    assert all(run.lateness_ms == 0 for run in bench.runs if run.check == 300)


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("https://me:sesame@example.org:8443/health", "example.org"),
        ("tcp://[2001:db8::1]:22", "2001:db8::1"),
        ("http://192.0.2.1/", "192.0.2.1"),
        ("http://127.0.0.1:8080/", None),
        ("http://[::1]/", None),
        ("http://localhost/", None),
        ("http://app.localhost/", None),
        ("/usr/lib/nagios/plugins/check_disk", None),
        ("", None),
        ("http://[half", None),
    ],
)
def test_the_host_of_a_target_unless_it_is_this_machine(target: str, host: str | None) -> None:
    assert host_of(ProbeSpec("http", target, 1_000)) == host
