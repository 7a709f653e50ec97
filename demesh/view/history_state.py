"""What is open of a log (`demesh.view.history.LogHistory`) as bytes, for `view.db`. Equal states have equal bytes."""

from collections.abc import Mapping

from demesh.log.codec import Fields, Value, decode, encode
from demesh.log.sums import Sums, read_row
from demesh.view.history import LogHistory, Moment

_DEPTH = 6


def encode_state(folded: LogHistory) -> bytes:
    return encode(_state(folded))


def decode_state(folded: LogHistory, state: bytes) -> None:
    """Fill in what is open of `folded`. Raises EntryError."""
    _read_state(folded, decode(state, depth_max=_DEPTH))


def _state(folded: LogHistory) -> Value:
    open_: list[Value] = [[hour, _named_sums(rows)] for hour, rows in sorted(folded.open.items())]
    last: list[Value] = [[name, *moment] for name, moment in sorted(folded.last.items())]
    slots: list[Value] = [
        [slot, [[name, *spans] for name, spans in sorted(rows.items())]] for slot, rows in sorted(folded.slots.items())
    ]
    undayed: list[Value] = [[day, _named_sums(rows)] for day, rows in sorted(folded.undayed.items())]
    return [open_, last, slots, undayed]


def _read_state(folded: LogHistory, value: Value) -> None:
    many = 2**32
    fields = Fields(value, "the state")
    for each in fields.array("open hours", many):
        hour = Fields(each, "an hour")
        number = hour.uint("hour", many)
        folded.open[number] = dict(map(read_row, hour.array("rows", many)))
    for each in fields.array("moments", many):
        moment = Fields(each, "a moment")
        name = moment.text("name")
        folded.last[name] = Moment(moment.octets("boot", 8), moment.uint("up time", 2**53))
    for each in fields.array("slots", many):
        slot = Fields(each, "a slot")
        rows = folded.slots.setdefault(slot.uint("slot", many), {})
        for row in slot.array("rows", many):
            spans = Fields(row, "a row")
            name = spans.text("name")
            rows[name] = [spans.uint("up", 2**53), spans.uint("down", 2**53)]
    for each in fields.array("undayed", many):
        day = Fields(each, "a day")
        number = day.uint("day", many)
        folded.undayed[number] = dict(map(read_row, day.array("rows", many)))


def _named_sums(rows: Mapping[str, Sums]) -> Value:
    return [[name, *sums.columns()] for name, sums in sorted(rows.items())]
