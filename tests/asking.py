"""Nodes that ask each other, for tests: what their probes find, and what they answer."""

from dataclasses import replace
from typing import Any

import trio

from demesh import limits
from demesh.asking import Question
from demesh.config.load import Settings
from demesh.mesh.ask import No, read_answer
from demesh.mesh.network import ASK, Stream
from demesh.mesh.session import Frames
from demesh.outcome import ProbeResult
from demesh.probes.base import ProbeSpec
from tests.cluster import Member

URL = {"target": "https://shop.example.org/health", "timeout": "2s"}


def configured(member: Member, **changed: Any) -> Member:
    assert isinstance(member.configured, Settings)
    member.configured = replace(member.configured, **changed)
    return member


async def answers_to(asked: Question) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Who is asked, and the answers by node, in the order in which they came."""
    told: list[dict[str, Any]] = []

    async def tell(line: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        told.append(line)

    with trio.fail_after(60):
        await asked.run(tell)
    return told[0], {each["node"]: each for each in told[1:]}


def lets_find(member: Member, result: ProbeResult, after_seconds: float = 0) -> list[ProbeSpec]:
    """Let a member's probes find that; returns what they are asked for from now on."""
    specs: list[ProbeSpec] = []

    async def probe(spec: ProbeSpec) -> ProbeResult:
        specs.append(spec)
        await trio.sleep(after_seconds)
        return result

    member.probe = probe
    return specs


async def opened(asker: Member, asked: Member, protocol: str = ASK) -> Stream:
    """A stream of the asker's, who may then say on it what it likes."""
    return await asker.node._asker._network.open_stream(asked.key, protocol)


async def asked(stream: Stream, message: bytes) -> ProbeResult | No:
    """What comes back for `message`."""
    frames = Frames(stream, limits.ASK_FRAME_BYTES_MAX)
    await frames.send(message)
    return read_answer(await frames.expect())
