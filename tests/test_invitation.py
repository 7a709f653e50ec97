"""An invitation is one line that comes back as it was, or is refused with a sentence that does not tell the secret."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.errors import UsageError
from demesh.identity import SwarmKey
from demesh.invitation import Invitation, read_invitation
from demesh.log.codec import encode

_INVITATION = Invitation(
    SwarmKey(b"k" * 32), b"m" * 16, ("/ip4/192.0.2.7/tcp/8471", "vps.example.net:8471"), "büro", "nas"
)
_LINE = _INVITATION.line()


def test_a_line_comes_back_as_it_was() -> None:
    assert _LINE.startswith("demesh1:")
    assert len(_LINE.split()) == 1
    for text in (_LINE, _LINE + "\n", f"  {_LINE}\r\n"):
        assert read_invitation(text) == _INVITATION


@given(st.integers(min_value=8, max_value=len(_LINE) - 1), st.sampled_from("abcXYZ019-_=+/ \n"))
def test_no_mistyped_character_passes(place: int, char: str) -> None:
    typed = _LINE[:place] + char + _LINE[place + 1 :]
    if typed.strip() != _LINE:
        with pytest.raises(UsageError) as caught:
            read_invitation(typed)
        assert _LINE[8:40] not in str(caught.value)


@pytest.mark.parametrize("length", range(1, len(_LINE)))
def test_no_cut_line_passes(length: int) -> None:
    with pytest.raises(UsageError):
        read_invitation(_LINE[:length])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no invitation"),
        ("\n", "There is no invitation"),
        ("hello", "begins with demesh1:"),
        ("demesh2:abc", "another version"),
        (_LINE[:-1], "a part of the line is missing"),
        (_LINE[:50] + "\n" + _LINE[50:], "one line"),
        ("demesh1:ü", "damaged"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_invitation(text)


@pytest.mark.parametrize(
    "content",
    [[1], [1, b"short", b"m" * 16, [], "a", ""], [1, b"k" * 32, b"m" * 16, ["not an address"], "a", ""], "text"],
)
def test_a_whole_line_with_a_foreign_content_is_refused(content: object) -> None:
    from demesh.invitation import _sum

    raw = encode(content)  # pyright: ignore[reportArgumentType]
    line = "demesh1:" + base64.urlsafe_b64encode(raw + _sum(raw)).decode().rstrip("=")
    with pytest.raises(UsageError, match="no invitation that this version understands"):
        read_invitation(line)


def test_the_key_is_in_the_line_only() -> None:
    assert _INVITATION.key.psk.hex() not in repr(_INVITATION)
