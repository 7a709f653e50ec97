"""The lists that ship: every row is sound, says who runs the server, and holds nobody's login."""

from pathlib import Path

import pytest

from demesh.servers.reading import read_list

_LISTS = sorted((Path(__file__).parents[2] / "server_lists").glob("*.csv"))


@pytest.mark.parametrize("path", _LISTS, ids=lambda path: path.name)
def test_a_list_that_ships_is_sound(path: Path) -> None:
    found = read_list(path.read_bytes(), path.name)
    assert (found.rejected, found.merged) == ((), ())
    assert found.servers
    for server in found.servers:
        assert server.type == path.stem
        assert server.note
        assert not (server.user)
        assert not (server.password_file)
        assert not (server.login)


def test_there_is_one_for_each_type_that_somebody_offers_to_everybody() -> None:
    assert {path.stem for path in _LISTS} == {"stun", "mqtt", "ntp"}
