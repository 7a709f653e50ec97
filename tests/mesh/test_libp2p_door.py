"""Strangers cannot keep peers from the door."""

from demesh.mesh.libp2p.door import Door


def test_one_address_cannot_fill_the_doorstep() -> None:
    door = Door(total_max=8, per_address_max=3)
    admitted = [door.enter("192.0.2.1") for _ in range(10)]
    assert [leave is not None for leave in admitted] == [True] * 3 + [False] * 7
    assert door.enter("192.0.2.2")


def test_all_addresses_together_are_bounded() -> None:
    door = Door(total_max=8, per_address_max=3)
    assert sum(door.enter(f"192.0.2.{n}") is not None for n in range(20)) == 8


def test_whoever_leaves_makes_room_for_one() -> None:
    door = Door(total_max=1, per_address_max=1)
    leave = door.enter("192.0.2.1")
    assert leave
    leave()
    leave()
    assert door.waiting == 0
    assert door.enter("192.0.2.1")
    assert not door.enter("192.0.2.1")


def test_an_ipv6_host_is_its_whole_64() -> None:
    door = Door(total_max=8, per_address_max=1)
    assert door.enter("2001:db8::1")
    assert not door.enter("2001:db8::ffff:2")
    assert door.enter("2001:db8:0:1::1")
