"""Texts are filled with what is documented, and with nothing else."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.alerts.message import Message
from demesh.alerts.sink import Sink
from demesh.alerts.template import PLACEHOLDERS, Template
from demesh.errors import UsageError
from tests.alerts.build import WALL_MS, incident
from tests.log.builders import generated

_DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"
_SINK = Sink("ntfy://a", "a")


def _message(**changed: object) -> Message:
    labels = (("alertname", "A"), ("severity", "warning"))
    annotations = (("description", "long {name}"), ("runbook", "https://r"), ("summary", "short"))
    return Message(
        replace(incident(), labels=labels, annotations=annotations, **changed), "firing", WALL_MS + 61_000, "nas", "0a"
    )


def test_every_placeholder_is_filled() -> None:
    text = "|".join(f"{{{name}}}" for name in PLACEHOLDERS)
    filled = _message().title(replace(_SINK, title=Template.parse(text))).split("|")
    assert dict(zip(PLACEHOLDERS, filled, strict=True)) == {
        "name": "DemeshCheckDown",
        "subject": "web",
        "severity": "warning",
        "state": "firing",
        "summary": "short",
        "description": "long {name}",
        "since": "2023-11-14T22:13:20Z",
        "duration": "1m 1s",
        "runbook": "https://r",
        "mesh": "0a",
        "labels": "alertname=A, severity=warning",
        "node": "nas",
    }


def test_the_documentation_names_every_placeholder() -> None:
    assert set(re.findall(r"`\{(\w+)\}`", _DOCS.read_text())) == set(PLACEHOLDERS)


@pytest.mark.parametrize(
    "text", ["{sumary}", "{}", "{0}", "{name.x}", "{name!r}", "{name:>9}", "{ name}", "{name", "name}", "{{name}"]
)
def test_whatever_is_no_placeholder_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        Template.parse(f"sesame {text}")
    assert "sesame" not in str(refusal.value)


@generated
@given(st.text(alphabet="a{}b", max_size=12), st.text())
def test_what_is_filled_in_is_never_looked_at_again(text: str, value: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    filled = Template.parse(escaped + "{name}").fill(dict.fromkeys(PLACEHOLDERS, value))
    assert filled == text + value


def test_a_reminder_says_which_one_it_is() -> None:
    message = replace(_message(), state="reminder", reminder=3)
    assert message.title(_SINK) == "reminder 3: DemeshCheckDown web"


def test_a_clock_that_was_set_back_makes_no_duration_negative() -> None:
    message = _message(onset_ms=WALL_MS + 10**9)
    assert message.title(replace(_SINK, title=Template.parse("{duration}"))) == "0s"
