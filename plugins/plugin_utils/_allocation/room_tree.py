# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Finds the first of many bins with enough room without searching all of them."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

Room = tuple[float, float]


class RoomTree:
    """A tree over bins in order; each node has the most free CPU and the most free memory of any bin below it.

    With one scarce resource a search visits O(log bins) nodes. With two, the bin with the CPU and the bin with the
    memory may differ, so there may be no bin with room below a node that seems to have some: the search then continues
    with the next node. The answer is still right, but in the worst case all nodes are visited.
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
        """Change the room of a bin."""
        node = place + self._size
        self._most[node] = room
        while node > 1:
            node //= 2
            self._join(node)

    def enough(self, node: int, need: Room) -> bool:
        """May a bin below the node have enough room?"""
        cpu, memory = self._most[node]
        return cpu >= need[0] and memory >= need[1]

    def find(self, need: Room) -> t.Iterator[int]:
        """The bins with enough room, first to last, found one by one."""
        waiting = [1]
        while waiting:
            node = waiting.pop()
            if self.enough(node, need):
                if node >= self._size:
                    yield node - self._size
                else:
                    waiting += (2 * node + 1, 2 * node)
