"""This machine's own resolvers: whom the lack of an answer is blamed on. In virtual time."""

from collections.abc import Mapping
from pathlib import Path

import dns.name
import dns.rdatatype
import pytest
import trio
import trio.testing

from demesh.failure import Failed
from demesh.outcome import Outcome
from demesh.probes.dialling import Place, Progress
from demesh.probes.dns_local import ask_local, local_resolvers
from demesh.probes.dns_message import Question, Reply

QUESTION = Question(dns.name.from_text("shop.test"), dns.rdatatype.A)
SECONDS = 10.0
Script = Mapping[str, tuple[tuple[float, str], tuple[float, str]]]
"""By resolver: after how long it says what, to the question and to the one that must be denied; "" fails then."""

NEVER = (1000.0, "")
DENIES = (0.1, "NXDOMAIN")


async def told(script: Script, expected: str = "NOERROR") -> tuple[str, str, float, list[tuple[str, float]]]:
    """The resolver and the rcode that were settled on, when, and who was asked the question when."""
    began = trio.current_time()
    asked: list[tuple[str, float]] = []

    async def ask(place: Place, question: Question, progress: Progress) -> Reply:
        ours = question is QUESTION
        if ours:
            asked.append((place.host, trio.current_time() - began))
        after, rcode = script[place.host][0 if ours else 1]
        with trio.move_on_at(began + SECONDS):
            await trio.sleep(after)
            if rcode:
                return Reply(rcode, truncated=False)
        raise Failed(Outcome.TIMEOUT, "no answer")

    places = [Place(host, 53, 4) for host in script]
    reply, progress = await ask_local(places, QUESTION, expected, began + SECONDS, 10_000, ask)
    return str(progress.address), reply.rcode, trio.current_time() - began, asked


@pytest.mark.trio
async def test_the_first_resolver_that_answers_is_the_only_one_asked(autojump_clock: trio.testing.MockClock):
    script: Script = {"a": ((1, "NXDOMAIN"), NEVER), "b": ((0, "NOERROR"), NEVER)}
    assert await told(script) == ("a", "NXDOMAIN", pytest.approx(1), [("a", 0)])


@pytest.mark.trio
async def test_the_next_one_is_asked_after_silence_or_no_help_and_the_first_may_still_answer(
    autojump_clock: trio.testing.MockClock,
):
    silent: Script = {"a": (NEVER, NEVER), "b": ((0.5, "NOERROR"), NEVER)}
    assert await told(silent) == ("b", "NOERROR", pytest.approx(3), [("a", 0), ("b", pytest.approx(2.5))])
    useless: Script = {"a": ((0.1, "SERVFAIL"), NEVER), "b": ((0.5, "NOERROR"), NEVER)}
    assert await told(useless) == ("b", "NOERROR", pytest.approx(0.6), [("a", 0), ("b", pytest.approx(0.1))])
    late: Script = {"a": ((9, "NOERROR"), NEVER), "b": (NEVER, DENIES)}
    assert (await told(late))[:3] == ("a", "NOERROR", pytest.approx(9))


@pytest.mark.trio
async def test_a_name_is_blamed_only_if_a_resolver_works(autojump_clock: trio.testing.MockClock):
    works: Script = {"a": ((0.1, "SERVFAIL"), DENIES)}
    assert (await told(works))[:3] == ("a", "SERVFAIL", pytest.approx(0.2))
    with pytest.raises(Failed, match="no answer within 10000 ms, though the resolver answers") as silent:
        await told({"a": (NEVER, DENIES)})
    assert silent.value.outcome == Outcome.TIMEOUT
    for control in (NEVER, (0.1, "SERVFAIL"), (0.1, "REFUSED"), (0.1, "")):
        for said in (NEVER, (0.1, "SERVFAIL"), (0.1, "REFUSED"), (0.1, "")):
            with pytest.raises(Failed, match=r"^no resolver answers this node$") as cut_off:
                await told({"a": (said, control), "b": (NEVER, control)})
            assert cut_off.value.outcome == Outcome.ERROR


@pytest.mark.trio
async def test_an_expected_servfail_is_an_answer(autojump_clock: trio.testing.MockClock):
    assert (await told({"a": ((0.1, "SERVFAIL"), NEVER)}, "SERVFAIL"))[1:3] == ("SERVFAIL", pytest.approx(0.1))


def test_resolvers_are_read_as_the_c_library_does(tmp_path: Path):
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# nameserver 192.0.2.9\n; x\nsearch a b\nnameserver\nnameserver nonsense\nnameserver 192.0.2.1 # us\n"
        "\tnameserver fe80::1%eth0\nnameserver ::1\nnameserver 192.0.2.4\n"
    )
    assert local_resolvers(53, file) == [Place("192.0.2.1", 53, 4), Place("fe80::1%eth0", 53, 6), Place("::1", 53, 6)]
    file.write_bytes(b"\xff\n")
    assert local_resolvers(853, file) == [Place("127.0.0.1", 853, 4)]
    assert local_resolvers(53, tmp_path / "none") == [Place("127.0.0.1", 53, 4)]
