# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The first of many places with enough room, without looking at each."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

Room = tuple[float, float]


class RoomTree:
    """A tree over places in order; each node knows the most free CPU and the most free memory of any place below it.

    With one scarce resource a search looks at O(log places) nodes. With two, the place with the CPU and the place with
    the memory may be different ones, so a node that seems to have room may have none below it: the search then goes on
    to the next, which keeps the answer right, and costs up to all nodes where that happens everywhere.
    """

    __slots__ = ("_most", "_size")

    def __init__(self, rooms: Sequence[Room]) -> None:
        self._size = 1 << max(0, len(rooms) - 1).bit_length()
        nothing = (-1.0, -1.0)
        self._most: list[Room] = [nothing] * self._size + list(rooms) + [nothing] * (self._size - len(rooms))
        for node in range(self._size - 1, 0, -1):
            self._join(node)

    def _join(self, node: int) -> None:
        (cpu, memory), (other_cpu, other_memory) = self._most[2 * node], self._most[2 * node + 1]
        self._most[node] = (max(cpu, other_cpu), max(memory, other_memory))

    def update(self, place: int, room: Room) -> None:
        """The room of a place has changed."""
        node = place + self._size
        self._most[node] = room
        while node > 1:
            node //= 2
            self._join(node)

    def enough(self, node: int, need: Room) -> bool:
        """May there be a place with enough room below the node?"""
        cpu, memory = self._most[node]
        return cpu >= need[0] and memory >= need[1]

    def find(self, need: Room) -> t.Iterator[int]:
        """The places with enough room, first to last, each found when it is asked for."""
        waiting = [1]
        while waiting:
            node = waiting.pop()
            if self.enough(node, need):
                if node >= self._size:
                    yield node - self._size
                else:
                    waiting += (2 * node + 1, 2 * node)
