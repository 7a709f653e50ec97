import pytest

from demesh.errors import EntryError
from demesh.log.bye import Bye, read_bye
from demesh.log.codec import Value


def test_bye_survives_its_entry() -> None:
    assert read_bye(Bye("upgrade", 5).payload()) == Bye("upgrade", 5)
    assert read_bye(["upgrade", 5, "more"]) == Bye("upgrade", 5)


@pytest.mark.parametrize("payload", [["upgrade"], [5, 5], ["r" * 65, 5], ["upgrade", 2**53], 5])
def test_bye_out_of_shape_is_refused(payload: Value) -> None:
    with pytest.raises(EntryError):
        read_bye(payload)
