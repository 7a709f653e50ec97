"""Runs a demesh command that does not outlive the demo, however that ends: `python -m demesh.demo.tether PID ARGUMENTS…`.

The kernel sends SIGTERM when the thread that started this process is gone, so the main thread must be the one to start it.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    demo, *arguments = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(demo):
        return  # it was gone before it could be watched
    os.execv(sys.executable, [sys.executable, "-m", "demesh", *arguments])


if __name__ == "__main__":
    main()
