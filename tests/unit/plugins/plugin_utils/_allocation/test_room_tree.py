# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.virtops.balance.plugins.plugin_utils._allocation.room_tree import Room, RoomTree

ROOMS = st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float))


class Counting(RoomTree):
    """Counts the nodes that it looks at."""

    looks = 0

    def enough(self, node: int, need: Room) -> bool:
        type(self).looks += 1
        return super().enough(node, need)


@given(st.lists(ROOMS, max_size=20), st.lists(st.tuples(st.integers(0, 19), ROOMS), max_size=10), ROOMS)
def test_finds_all_in_order(rooms: list[Room], changes: list[tuple[int, Room]], need: Room) -> None:
    tree = RoomTree(rooms)
    for place, room in changes:
        if place < len(rooms):
            rooms[place] = room
            tree.update(place, room)
    expected = [index for index, room in enumerate(rooms) if room[0] >= need[0] and room[1] >= need[1]]
    assert list(tree.find(need)) == expected


@pytest.mark.parametrize("exponent", [4, 8, 12])
def test_looks_at_logarithmically_many_places(exponent: int) -> None:
    places = 2**exponent
    # Free CPU rises, memory is no matter: the place is in the middle, where a scan would look at half of all.
    tree = Counting([(float(index), 10.0) for index in range(places)])
    Counting.looks = 0
    assert next(tree.find((places / 2, 1.0))) == places // 2
    assert Counting.looks <= 2 * exponent + 1
    Counting.looks = 0
    assert list(tree.find((places + 1.0, 1.0))) == []
    assert Counting.looks == 1


def test_both_resources_on_one_place() -> None:
    # The root and the left half have the CPU and the memory, but not on the same place.
    assert list(RoomTree([(9.0, 1.0), (1.0, 9.0), (5.0, 5.0)]).find((5.0, 5.0))) == [2]
