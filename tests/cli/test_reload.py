"""Taking up the configuration anew, where its files cannot be read."""

import os
from pathlib import Path

import pytest
import trio

from demesh import limits
from demesh.cli.running import _load
from demesh.config.command_line import CommandLine
from demesh.config.source import ConfigSource
from demesh.errors import UsageError


@pytest.mark.trio
async def test_a_file_system_that_does_not_answer_is_given_up_with_a_sentence(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = tmp_path / "demesh.toml"
    os.mkfifo(config)  # nobody writes, so whoever reads waits
    try:
        others, own = trio.to_thread.current_default_thread_limiter(), trio.CapacityLimiter(1)
        for _ in range(3):  # however often it is asked for
            with pytest.raises(UsageError, match=f"not be read within {limits.CONFIG_READ_SECONDS_MAX} s"):
                await _load(ConfigSource(config, CommandLine(), needed=True), own)
        assert (own.borrowed_tokens, others.borrowed_tokens) == (1, 0)
    finally:
        os.close(os.open(config, os.O_RDWR))
