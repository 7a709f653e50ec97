"""What votes were when they were last saved, as bytes: so a start knows the state of every check, however rarely it runs.

    [[name, definition, vote, since, run_blames, run_length, run_start, counted, last, certificate, address, recent,
      flapping, tries, other_address], …]
    observation = [up_ms, outcome, latency_us, detail, lateness_ms, boot8, wall_ms]          `[]` where there is none

This is a file's format, not the wire's: a snapshot of another version of demesh is not read but folded anew.
"""

from collections.abc import Iterable, Mapping

from demesh import limits
from demesh.errors import EntryError
from demesh.log.codec import Fields, Value, decode, encode
from demesh.log.results import Result
from demesh.outcome import Outcome
from demesh.view.vote import Observation, Vote, VoteState

Votes = Mapping[tuple[str, bytes], VoteState]
"""By check and definition hash."""

_DEPTH = 4
_MANY = 2**32
_VOTES = tuple(Vote)
_UINT = 2**53


def encode_votes(votes: Votes) -> bytes:
    return encode([_vote(name, definition, state) for (name, definition), state in sorted(votes.items())])


def decode_votes(data: bytes) -> dict[tuple[str, bytes], VoteState]:
    """Raises EntryError."""
    rows = Fields([decode(data, depth_max=_DEPTH)], "the snapshot").array("votes", _MANY)
    return dict(map(_read_vote, rows))


def _vote(name: str, definition: bytes, state: VoteState) -> Value:
    return [
        name,
        definition,
        _VOTES.index(state.vote),
        _observation(state.since),
        int(state.run_blames),
        state.run_length,
        _observation(state.run_start),
        _observation(state.counted),
        _observation(state.last),
        _maybe(state.certificate_expires_s),
        _maybe(state.address),
        state.recent,
        int(state.flapping),
        _maybe(state.tries),
        _maybe(state.other_address),
    ]


def _read_vote(value: Value) -> tuple[tuple[str, bytes], VoteState]:
    fields = Fields(value, "a vote")
    name, definition = fields.text("name"), fields.octets("definition")
    state = VoteState(
        vote=_VOTES[fields.uint("vote", len(_VOTES) - 1)],
        since=_read_observation(fields.array("since", 16)),
        run_blames=bool(fields.uint("run blames", 1)),
        run_length=fields.uint("run length", _MANY),
        run_start=_read_observation(fields.array("run start", 16)),
        counted=_read_observation(fields.array("counted", 16)),
        last=_read_observation(fields.array("last", 16)),
        certificate_expires_s=_read_uint(fields.array("certificate", 1)),
        address=_read_text(fields.array("address", 1)),
        recent=fields.uint("recent", _MANY, 1),
        flapping=bool(fields.uint("flapping", 1)),
        tries=_read_uint(fields.array("tries", 1)),
        other_address=_read_text(fields.array("other address", 1)),
    )
    return (name, definition), state


def _observation(seen: Observation | None) -> Value:
    if seen is None:
        return []
    result = seen.result
    return [
        result.up_ms,
        int(result.outcome),
        _maybe(result.latency_us),
        result.detail,
        result.lateness_ms,
        seen.boot8,
        max(0, seen.wall_ms),
    ]


def _read_observation(value: list[Value]) -> Observation | None:
    if not value:
        return None
    fields = Fields(value, "an observation")
    up_ms = fields.uint("up time", _UINT)
    outcome = fields.uint("outcome", len(Outcome) - 1)
    latency_us = _read_uint(fields.array("latency", 1))
    detail = fields.text("detail", limits.TEXT_CHARS_MAX)
    lateness_ms = fields.uint("lateness", _UINT)
    boot8, wall_ms = fields.octets("boot", 8), fields.uint("wall clock", _UINT)
    result = Result(0, up_ms, Outcome(outcome), latency_us, detail, lateness_ms=lateness_ms)
    return Observation(result, boot8, wall_ms)


def _maybe(value: int | str | None) -> Value:
    return [] if value is None else [value]


def _read_uint(value: Iterable[Value]) -> int | None:
    found = next(iter(value), None)
    if found is not None and not isinstance(found, int):
        raise EntryError("shape", "the snapshot: not a number")
    return found


def _read_text(value: Iterable[Value]) -> str | None:
    found = next(iter(value), None)
    if found is not None and not isinstance(found, str):
        raise EntryError("shape", "the snapshot: not a text")
    return found
