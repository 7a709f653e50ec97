"""What is said of a node that ends by errors: all of them, one as the command's own."""

import pytest

from demesh.cli.run import _why_it_ended
from demesh.errors import NetworkError, StoreError


def test_of_several_errors_one_is_raised_and_the_others_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    first, second = NetworkError("The port is taken."), StoreError("The disk is full.")
    assert _why_it_ended(ExceptionGroup("all", [ExceptionGroup("some", [first]), second])) is first
    assert [record.message for record in caplog.records] == ["The disk is full."]


def test_a_bug_hides_no_error(caplog: pytest.LogCaptureFixture) -> None:
    bug = RuntimeError("a bug")
    raised = _why_it_ended(ExceptionGroup("all", [StoreError("The disk is full."), bug]))
    assert isinstance(raised, ExceptionGroup)
    assert raised.exceptions == (bug,)
    assert [record.message for record in caplog.records] == ["The disk is full."]


def test_an_interrupt_is_no_bug() -> None:
    interrupt = KeyboardInterrupt()
    assert _why_it_ended(BaseExceptionGroup("all", [BaseExceptionGroup("some", [interrupt])])) is interrupt
