"""The plug-ins that ship as examples do what they say, run as a check runs them."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import CommandOptions, ProbeSpec, PythonOptions
from demesh.probes.command import CommandProbe
from demesh.probes.python import PythonProbe
from tests.probes.servers import listening

_PLUGINS = Path(__file__).parents[2] / "checks" / "plugins"


async def _backup_age(*arguments: str) -> ProbeResult:
    options = CommandOptions(argv=(str(_PLUGINS / "backup_age.sh"), *arguments))
    return await CommandProbe()(ProbeSpec("command", "", 10_000, options=options))


@pytest.mark.trio
@pytest.mark.parametrize(
    ("age_hours", "outcome", "detail"),
    [
        (1, Outcome.PASS, ""),
        (27, Outcome.MISMATCH, "WARNING - the newest backup is 27 h old"),
        (51, Outcome.FAIL, "CRITICAL - the newest backup is 51 h old"),
    ],
)
async def test_the_age_of_a_backup_decides(tmp_path: Path, age_hours: int, outcome: Outcome, detail: str) -> None:
    for number, hours in enumerate((age_hours, age_hours + 100)):
        backup = tmp_path / f"backup {number}"
        backup.touch()
        made_s = backup.stat().st_mtime - hours * 3_600 - 60
        os.utime(backup, (made_s, made_s))
    result = await _backup_age(str(tmp_path), "26", "50")
    assert (result.outcome, result.detail) == (outcome, detail)


@pytest.mark.trio
async def test_no_backup_is_critical_and_a_wrong_call_unknown(tmp_path: Path) -> None:
    assert (await _backup_age(str(tmp_path), "26", "50")).detail == "CRITICAL - there is no backup at all"
    for wrong in ((), (str(tmp_path), "soon", "50"), (str(tmp_path / "missing"), "26", "50")):
        result = await _backup_age(*wrong)
        assert result.outcome is Outcome.ERROR
        assert result.detail.startswith("UNKNOWN - ")


@asynccontextmanager
async def _redis(*answers: bytes) -> AsyncGenerator[tuple[int, list[bytes]]]:
    heard: list[bytes] = []

    async def handle(stream: trio.SocketStream) -> None:
        for answer in answers:
            heard.append(await stream.receive_some(1_000))
            await stream.send_all(answer)
        await stream.aclose()

    async with listening(handle) as port:
        yield port, heard


async def _redis_ping(monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> ProbeResult:
    monkeypatch.syspath_prepend(_PLUGINS)
    options = PythonOptions("redis_ping:check", tuple({"host": "127.0.0.1", **arguments}.items()))
    return await PythonProbe()(ProbeSpec("python", "", 10_000, options=options))


@pytest.mark.trio
@pytest.mark.parametrize(
    ("answers", "outcome", "detail"),
    [
        ([b"+PONG\r\n"], Outcome.PASS, ""),
        ([b"-LOADING sesame\r\n"], Outcome.MISMATCH, "answered LOADING instead of PONG"),
        ([b"HTTP/1.1 400 X\r\n"], Outcome.MISMATCH, "answered something else instead of PONG"),
        ([b""], Outcome.FAIL, "the connection was closed before an answer came"),
    ],
)
async def test_redis_is_well_if_it_answers_pong(
    monkeypatch: pytest.MonkeyPatch, answers: list[bytes], outcome: Outcome, detail: str
) -> None:
    async with _redis(*answers) as (port, heard):
        result = await _redis_ping(monkeypatch, port=port)
    assert (result.outcome, result.detail) == (outcome, detail)
    assert heard == [b"*1\r\n$4\r\nPING\r\n"]


@pytest.mark.trio
async def test_redis_with_a_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("sesame\n")
    async with _redis(b"+OK\r\n", b"+PONG\r\n") as (port, heard):
        assert (await _redis_ping(monkeypatch, port=port, password_file=str(file))).outcome is Outcome.PASS
    assert heard[0] == b"*2\r\n$4\r\nAUTH\r\n$6\r\nsesame\r\n"
    async with _redis(b"-WRONGPASS sesame\r\n") as (port, _):
        refused = await _redis_ping(monkeypatch, port=port, password_file=str(file))
    assert (refused.outcome, refused.detail) == (Outcome.ERROR, "the server does not take the password")
    async with _redis() as (port, _):
        unread = await _redis_ping(monkeypatch, port=port, password_file=str(tmp_path / "missing"))
    assert (unread.outcome, unread.detail) == (Outcome.ERROR, "the file of the password cannot be read")


@pytest.mark.trio
async def test_redis_that_is_not_there_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _redis() as (port, _):
        pass
    result = await _redis_ping(monkeypatch, port=port)
    assert (result.outcome, result.detail) == (Outcome.FAIL, "no connection")
