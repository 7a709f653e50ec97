"""What a node refuses to do for others at a TURN server; tests/e2e/test_turn_relay.py has the whole way."""

import socket

import pytest
import trio
from trio.testing import MockClock

from demesh import limits
from demesh.address import Spot
from demesh.config.values import AllowRequests
from demesh.mesh import relay
from demesh.mesh.ask import No, Refused
from demesh.mesh.network import ASK, RELAY, Stream
from demesh.mesh.session import Frames
from demesh.probes.relays import NoHelp
from demesh.relaying import Borrower
from tests.asking import configured, opened
from tests.cluster import Mesh, running
from tests.log.builders import counted
from tests.probes.dns_servers import saying
from tests.probes.stun_servers import reply

pytestmark = pytest.mark.trio
_SILENT = relay.where(Spot("127.0.0.1", 9))


async def _told(mesh: Mesh, allow: AllowRequests, *messages: bytes) -> list[str | No]:
    """What ben says to each message of ann's, on a stream of its own."""
    ann, ben = mesh.member("ann"), configured(mesh.member("ben"), allow_requests=allow)
    said: list[str | No] = []
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        for message in messages:
            frames = Frames(await opened(ann, ben, RELAY))
            await frames.send(message)
            with trio.fail_after(limits.RELAY_SECONDS_MAX):
                said.append(relay.read_here(await frames.expect()))
    return said


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "169.254.1.1", "224.0.0.1"])
async def test_only_public_addresses_are_sent_anything_unless_the_owner_allows_more(
    address: str, autojump_clock: MockClock, mesh: Mesh
) -> None:
    before = counted("demesh_refused_total", room="relay", reason="policy")
    (said,) = await _told(mesh, "public", relay.where(Spot(address, 3478)))
    assert said == No(Refused.POLICY, "this node sends to public addresses only (mesh.allow_requests)")
    assert counted("demesh_refused_total", room="relay", reason="policy") == before + 1


async def test_who_allows_no_requests_helps_nobody_and_does_not_offer_to(autojump_clock: MockClock, mesh: Mesh) -> None:
    (said,) = await _told(mesh, "none", relay.where(Spot("1.1.1.1", 3478)))
    assert isinstance(said, No)
    assert said.code == Refused.POLICY
    ben = configured(mesh.member("cat"), allow_requests="none")
    async with running(ben):
        hello = next(each for each in ben.node.view.members() if each.public_key == ben.key).current.hello
        assert hello is not None
        assert not {ASK, RELAY} & set(hello.protocols)


async def test_a_member_chooses_nothing_of_what_is_sent(autojump_clock: MockClock, mesh: Mesh) -> None:
    ann, ben = mesh.member("ann"), configured(mesh.member("ben"), allow_requests="any")
    token = b"GET / HTTP/1.0\r\n\r\n".ljust(relay.TOKEN_BYTES)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relayed:
        relayed.bind(("127.0.0.1", 0))
        relayed.setblocking(False)
        async with (
            saying(lambda request: [reply(request, XOR_MAPPED_ADDRESS=("127.0.0.1", 9))]) as port,
            running(ann, ben),
        ):
            mesh.connect(ann, ben)
            await trio.sleep(1)
            frames = Frames(await opened(ann, ben, RELAY))
            await frames.send(relay.where(Spot("127.0.0.1", port)))
            assert relay.read_here(await frames.expect()) == "127.0.0.1"
            await frames.send(relay.send(Spot(*relayed.getsockname()), token))
            assert relay.read_sent(await frames.expect()) == limits.RELAY_DATAGRAMS
        came = [relayed.recv(2048) for _ in range(limits.RELAY_DATAGRAMS)]
    assert came == [relay.datagram(token)] * limits.RELAY_DATAGRAMS
    assert token[:4] not in came[0]


async def test_a_server_that_is_silent_is_said_to_be_in_bounded_time(autojump_clock: MockClock, mesh: Mesh) -> None:
    (said,) = await _told(mesh, "any", _SILENT)
    assert isinstance(said, No)
    assert said.code == Refused.CANNOT


async def test_what_makes_no_sense_is_refused_and_counted(autojump_clock: MockClock, mesh: Mesh) -> None:
    before = counted("demesh_refused_total", room="relay", reason="malformed")
    said = await _told(mesh, "any", relay.here("1.1.1.1"), b"\x80")
    assert [each.code for each in said if isinstance(each, No)] == [Refused.MALFORMED, Refused.MALFORMED]
    assert counted("demesh_refused_total", room="relay", reason="malformed") == before + 2


async def test_helping_is_counted_with_the_answers_that_a_member_gets(autojump_clock: MockClock, mesh: Mesh) -> None:
    nowhere = relay.where(Spot("255.255.255.255", 9))  # this is refused by the system at once
    said = await _told(mesh, "any", *[nowhere] * (limits.ASKED_PER_MEMBER_PER_MINUTE_MAX + 1))
    codes = [each.code for each in said if isinstance(each, No)]
    assert codes == [Refused.CANNOT] * limits.ASKED_PER_MEMBER_PER_MINUTE_MAX + [Refused.RATE]


@pytest.mark.parametrize("answers", [0, 1])
async def test_a_member_that_hangs_is_no_help_by_the_time_that_was_given(
    answers: int, autojump_clock: MockClock, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, or when it knows where to send."""

    async def hang(stream: Stream) -> None:
        frames = Frames(stream, limits.RELAY_FRAME_BYTES_MAX)
        for _ in range(answers):
            relay.read_where(await frames.expect())
            await frames.send(relay.here("127.0.0.1"))
        await trio.sleep_forever()

    ann, ben = mesh.member("ann"), configured(mesh.member("ben"), allow_requests="any")
    async with running(ann, ben):
        mesh.connect(ann, ben)
        await trio.sleep(1)
        monkeypatch.setattr(ben.node.incoming._lender, "serve", hang)
        network = mesh.swarm.networks[ann.key]
        (candidate,) = Borrower(ann.node.view, ann.node.clock, network).candidates()
        by = trio.current_time() + 3

        async def ask() -> None:
            async with candidate.ask(Spot("127.0.0.1", 3478), by) as helper:
                assert answers == 1
                await helper.send(Spot("127.0.0.1", 9), bytes(32))

        with pytest.raises(NoHelp, match="ben does not answer in time"):
            await ask()
        assert trio.current_time() == by
