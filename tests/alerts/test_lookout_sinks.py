"""The lookout tells of every Alertmanager it is to tell, in the order of the configuration."""

import random
from collections.abc import Sequence

import pytest
import trio

from demesh.alerts.conclusions import Conclusions
from demesh.alerts.delivery import no_notify
from demesh.alerts.kept import encode_incidents
from demesh.alerts.notifier import Notifier
from demesh.errors import NetworkError
from demesh.log.event import Event
from demesh.lookout import Lookout
from tests.alerts.build import StillClock
from tests.view.build import OWN, new_view


async def _nobody(_url: str, _document: bytes) -> tuple[int, int | None]:
    raise NetworkError("nobody is there.")


async def _keep(_note: bytes) -> None:
    await trio.lowlevel.checkpoint()


async def _tell(_events: Sequence[Event]) -> None:
    await trio.lowlevel.checkpoint()


@pytest.mark.trio
async def test_every_alertmanager_in_force_is_told_of_and_no_other(autojump_clock: object) -> None:
    view = new_view()
    conclusions = Conclusions(view, OWN.key, "0a1b2c3d")
    clock = StillClock()
    notifier = Notifier(view, OWN.key, bytes(16), clock, random.Random(1), no_notify, _tell, lambda: True)
    lookout = Lookout(
        view,
        conclusions,
        clock,
        _nobody,
        on_suspect=lambda: None,
        notifier=notifier,
        hears=lambda: True,
        late_ms=lambda: 0,
        keep=_keep,
        kept=encode_incidents([]),
    )
    lookout.set_sinks(["http://me:sesame@b:9093", "http://a:9093"], ())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lookout.run)
        await trio.sleep(0.1)
        assert [(each["name"], each["ok"]) for each in lookout.sinks()] == [
            ("http://b:9093", None),
            ("http://a:9093", None),
        ]
        lookout.set_sinks(["http://a:9093"], ())
        assert [each["name"] for each in lookout.sinks()] == ["http://a:9093"]
        nursery.cancel_scope.cancel()
