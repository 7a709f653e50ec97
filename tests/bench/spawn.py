"""Runs a command many times and prints what each run took, as JSON.

    python -S -m tests.bench.spawn TIMES COMMAND [ARGUMENT …]

A small program of its own, because the kernel lets a child's peak memory begin with its parent's.
"""

import json
import os
import sys
import time


def main(times: int, command: list[str]) -> None:
    runs: list[dict[str, float]] = []
    for _ in range(times):
        began = time.perf_counter()
        null = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=null)
        _, status, usage = os.wait4(pid, 0)
        runs.append(
            {
                "exit_code": os.waitstatus_to_exitcode(status),
                "wall_ms": 1_000 * (time.perf_counter() - began),
                "cpu_ms": 1_000 * (usage.ru_utime + usage.ru_stime),
                "peak_mb": usage.ru_maxrss / 1_024,
            }
        )
    print(json.dumps(runs))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
