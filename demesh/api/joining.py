"""The routes about who may connect: how this node is reached, and the change of the swarm key. No answer holds a key."""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Query, Response
from fastapi.responses import JSONResponse

from demesh.api.models import KeyStateModel, Problem, ReachedModel
from demesh.api.problem import problem
from demesh.api.scopes import requires
from demesh.config.load import Settings
from demesh.errors import DemeshError, UsageError
from demesh.identity import peer_id
from demesh.swarm_key_files import SwarmKeys
from demesh.tokens import Scope
from demesh.view.fold import View
from demesh.view.names import name_of, shown_names


class JoiningNode(Protocol):
    """What is needed of a node."""

    key: bytes
    view: View

    @property
    def settings(self) -> Settings: ...

    def listening(self) -> Sequence[str]: ...


class KeyRotation(Protocol):
    """What is needed of `demesh.mesh.rotation.Rotation`."""

    keys: SwarmKeys

    async def begin(self, without: frozenset[bytes]) -> None: ...

    async def finish(self) -> None: ...


_MAY_REFUSE: dict[int | str, dict[str, Any]] = {
    200: {"model": KeyStateModel},
    422: {"model": Problem, "description": "It cannot be done; the sentence says what can."},
}


def add_joining_routes(app: FastAPI, node: JoiningNode, rotation: KeyRotation) -> None:
    @app.get("/api/v1/node", response_model=None, responses={200: {"model": ReachedModel}})
    async def reached() -> Response:
        """How this node is reached by others."""
        own = node.view.member(node.key)
        hello = own.current.hello if own else None
        return JSONResponse(
            {
                "name": node.settings.name,
                "peer_id": peer_id(node.key),
                "addresses": list(hello.addresses) if hello else [],
                "listening": list(node.listening()),
                "swarm_key": rotation.keys.newest.fingerprint,
            }
        )

    @app.get("/api/v1/swarm-key", response_model=None, responses={200: {"model": KeyStateModel}})
    async def key_state() -> Response:
        """Which swarm key is in force, by its fingerprint, and who has the one that is to replace it."""
        return JSONResponse(_told(node.view, rotation.keys))

    @app.post(
        "/api/v1/swarm-key/rotate",
        response_model=None,
        dependencies=[requires(Scope.WRITE)],
        responses=_MAY_REFUSE,
    )
    async def rotate(without: Annotated[list[str] | None, Query()] = None) -> Response:
        """Begin to change the swarm key, for all members but those in `without`, by name or peer id."""
        try:
            await rotation.begin(frozenset(_member(node, name) for name in without or ()))
        except DemeshError as error:
            return problem(422, str(error))
        return JSONResponse(_told(node.view, rotation.keys))

    @app.post(
        "/api/v1/swarm-key/finish",
        response_model=None,
        dependencies=[requires(Scope.WRITE)],
        responses=_MAY_REFUSE,
    )
    async def finish() -> Response:
        """Drop the old swarm key, whoever has not got the new one."""
        try:
            await rotation.finish()
        except DemeshError as error:
            return problem(422, str(error))
        return JSONResponse(_told(node.view, rotation.keys))


def _told(view: View, keys: SwarmKeys) -> dict[str, Any]:
    names = shown_names(view.members())
    change = keys.change
    return {
        "fingerprint": keys.current.fingerprint,
        "change": None
        if change is None
        else {
            "fingerprint": change.key.fingerprint,
            "begun_by": _name(names, change.by),
            "finished": change.finished,
            "members": [
                {"name": _name(names, key), "peer_id": peer_id(key), "has_it": key in change.confirmed}
                for key in sorted(change.members, key=lambda key: _name(names, key))
            ],
            "left_out": sorted(_name(names, key) for key in names.keys() - change.members),
        },
    }


def _name(names: dict[bytes, str], key: bytes) -> str:
    return names.get(key) or peer_id(key)


def _member(node: JoiningNode, name: str) -> bytes:
    """The key of the member that `name` is the shown name or the peer id of. Raises UsageError."""
    members = node.view.members()
    names = shown_names(members)
    found = [key for key in names if name in (names[key], peer_id(key))]
    if not found:
        alike = sorted(names[each.public_key] for each in members if name_of(each) == name)
        several = f"; there are several: {', '.join(alike)}" if alike else ", as `demesh status` shows them"
        raise UsageError(f"There is no member {name!r}{several}.")
    if found == [node.key]:
        raise UsageError("This node makes the new key and cannot be left out; rotate on another one.")
    return found[0]
