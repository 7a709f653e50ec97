"""Asks a blackbox_exporter for probes at a given rate, as Prometheus would: few connections, kept open.

    python -m tests.bench.ask_blackbox ADDRESS TARGET PROBES_PER_SECOND SECONDS

A program of its own, so that its cost is nobody's figure. Prints how many probes were answered, and how many succeeded.
"""

import http.client
import sys
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

_CONNECTIONS = 16


def _ask(address: str, target: str, offset: float, period: float, until: float) -> tuple[int, int]:
    path = "/probe?" + urllib.parse.urlencode({"module": "http", "target": target})
    connection = http.client.HTTPConnection(address, timeout=10)
    answered = succeeded = 0
    due = time.monotonic() + offset
    while due < until:
        time.sleep(max(0.0, due - time.monotonic()))
        connection.request("GET", path)
        body = connection.getresponse().read()
        answered += 1
        succeeded += b"\nprobe_success 1\n" in body
        due = max(due + period, time.monotonic())  # who is late does not catch up
    connection.close()
    return answered, succeeded


def main(address: str, target: str, per_second: float, seconds: float) -> None:
    until = time.monotonic() + seconds
    period = _CONNECTIONS / per_second
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        asked = [
            pool.submit(_ask, address, target, period * place / _CONNECTIONS, period, until)
            for place in range(_CONNECTIONS)
        ]
        counts = [each.result() for each in asked]
    print(sum(answered for answered, _ in counts), sum(succeeded for _, succeeded in counts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
