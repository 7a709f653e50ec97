"""What tests are given to listen at is theirs."""

import socket
import subprocess
import sys

from tests.ports import free_port, free_ports


def test_a_port_is_given_once_and_not_while_somebody_has_it() -> None:
    given = [free_port(), *free_ports(40), free_port()]
    assert len(set(given)) == 42
    with socket.create_server(("127.0.0.2", given[-1] + 1)):
        assert free_port() != given[-1] + 1


def test_another_process_is_given_others() -> None:
    asked = "from tests.ports import free_port; print(free_port())"
    theirs = int(subprocess.check_output([sys.executable, "-c", asked], timeout=60))
    assert theirs // 1_000 != free_port() // 1_000
