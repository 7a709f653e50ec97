"""What the API says about who may connect: where the node is found, and who has the new swarm key. Never the key."""

from typing import Any

import pytest

from demesh.errors import UsageError
from demesh.identity import peer_id
from tests.api.asking import Answer, Node, Rotation, ask
from tests.api.schema import faults
from tests.view.build import OWN

pytestmark = pytest.mark.trio
_UNIX: Any = None


async def _rotate(rotation: Rotation, query: str = "", node: Node | None = None) -> Answer:
    return await ask("/api/v1/swarm-key/rotate", method="POST", client=_UNIX, rotation=rotation, query=query, node=node)


async def test_the_answers_are_of_the_shape_that_openapi_json_describes() -> None:
    document = (await ask("/openapi.json")).json
    rotation = Rotation()
    for path in ("/api/v1/node", "/api/v1/swarm-key"):
        for _ in range(2):
            answer = await ask(path, rotation=rotation)
            schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            assert faults(answer.json, schema, document) == []
            await _rotate(rotation)


async def test_a_node_says_where_it_is_found_and_which_key_it_has() -> None:
    rotation = Rotation()
    said = (await ask("/api/v1/node", rotation=rotation)).json
    assert (said["name"], said["peer_id"], said["listening"]) == ("a", peer_id(OWN.key), ["/ip4/0.0.0.0/tcp/8471"])
    assert said["swarm_key"] == rotation.keys.current.fingerprint
    await _rotate(rotation)
    assert (await ask("/api/v1/node", rotation=rotation)).json["swarm_key"] == rotation.keys.newest.fingerprint


async def test_a_rotation_is_told_without_the_keys() -> None:
    rotation, node = Rotation(), Node()
    answers = [await _rotate(rotation, node=node), await ask("/api/v1/swarm-key", rotation=rotation, node=node)]
    assert rotation.keys.change
    for answer in answers:
        change = answer.json["change"]
        assert change["fingerprint"] == rotation.keys.change.key.fingerprint
        assert [each["has_it"] for each in change["members"]] == [True]
        assert len(change["left_out"]) == len(node.view.members())
        for key in rotation.keys.accepted:
            assert key.psk.hex() not in answer.body.decode()
            assert key.psk not in answer.body
    finished = await ask("/api/v1/swarm-key/finish", method="POST", client=_UNIX, rotation=rotation)
    assert finished.json == {"fingerprint": rotation.keys.current.fingerprint, "change": None}


async def test_members_are_left_out_by_name_or_peer_id_and_unknown_ones_are_named() -> None:
    node, rotation = Node(), Rotation()
    one, other, *_ = [member for member in node.view.members() if member.public_key != OWN.key]
    assert one.current.hello
    await _rotate(rotation, f"without={one.current.hello.name}&without={peer_id(other.public_key)}", node)
    assert rotation.without == {one.public_key, other.public_key}
    refused = await _rotate(Rotation(), "without=nobody", node)
    assert refused.status == 422
    assert "There is no member 'nobody'" in refused.json["error"]


@pytest.mark.parametrize("path", ["/api/v1/swarm-key/rotate", "/api/v1/swarm-key/finish"])
async def test_a_refusal_is_a_sentence_and_readers_may_not_ask(path: str) -> None:
    rotation = Rotation()
    rotation.error = UsageError("It lies elsewhere.")
    refused = await ask(path, method="POST", client=_UNIX, rotation=rotation)
    assert (refused.status, refused.json) == (422, {"error": "It lies elsewhere."})
    assert (await ask(path, method="POST", rotation=rotation)).status == 401
