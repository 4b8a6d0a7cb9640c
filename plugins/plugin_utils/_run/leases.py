# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""What the results of host_lease on all hosts mean for a run: whether it may act, and on which hosts."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

Json = Mapping[str, t.Any]

LONGEST_SECONDS = 7 * 24 * 3600.0
_RENEW_AFTER = 1 / 3
"""A lease is renewed once this share of it is over, so that one failed renewal does no harm."""


def judge(results: Mapping[str, Json], owner: str) -> dict[str, t.Any]:
    """Return what a run makes of the results of host_lease (state=present), by host:

    - ``refusals``: sentences about leases of others, and about those of which nobody knows whose they are. Hosts that
      do not answer or cannot keep a lease are not among them: nothing is done there, and the rest goes on.
    - ``failures``: the hosts that this run has no lease of, each with its result.
    - ``taken_over``: sentences about expired leases of other runs.
    - ``first``: the first host by name that can keep a lease, null where there is none; ``first_is_ours``: whether it
      is leased to ``owner``. Of two runs that begin at the same moment the one that has it goes first.
    """
    answering = {name: said for name, said in results.items() if not (said.get("unreachable") or said.get("unusable"))}
    first = min(answering, default=None)
    return {
        "refusals": [f"{name}: {said['msg']}" for name, said in answering.items() if "msg" in said],
        "failures": {name: dict(said) for name, said in results.items() if _owner(said) != owner},
        "taken_over": [_told(name, said["taken_over"]) for name, said in results.items() if said.get("taken_over")],
        "first": first,
        "first_is_ours": first is not None and _owner(answering[first]) == owner,
    }


def renewed(results: Mapping[str, Json], failures: Mapping[str, Json]) -> dict[str, t.Any]:
    """Return the same after the leases of all hosts without an earlier failure were renewed.

    A host that does not answer keeps its lease, which the next renewal may reach. One whose lease cannot be written
    any more takes no part from here on: once it is over, somebody else may act there.
    """
    asked = {name: said for name, said in results.items() if name not in failures}
    lost = {name: dict(said) for name, said in asked.items() if said.get("unusable")}
    answering = {name: said for name, said in asked.items() if name not in lost and not said.get("unreachable")}
    return {
        "refusals": [f"{name}: {said['msg']}" for name, said in answering.items() if "msg" in said],
        "failures": {**failures, **lost},
        "taken_over": [],
        "first": None,
        "first_is_ours": True,
    }


def lost(failures: Mapping[str, Json]) -> list[str]:
    """Return the hosts that answer but cannot keep a lease."""
    return [name for name, said in failures.items() if said.get("unusable")]


def due(leased_at: float | None, now: float, *, step_seconds: float, lease_seconds: float) -> bool:
    """Return whether leases have to be renewed before a step that is expected to take ``step_seconds``.

    ``leased_at`` is null where nothing is leased.
    """
    return leased_at is not None and now - leased_at + step_seconds > lease_seconds * _RENEW_AFTER


def keep_seconds(*, step_seconds: float, lease_seconds: float) -> float:
    """Return for how long to lease before a step.

    While it runs only the hosts that domains leave renew their own lease, so all have to last longer than the step,
    whose seconds are an estimate.
    """
    return min(lease_seconds + 2 * step_seconds, LONGEST_SECONDS)


def _owner(said: Json) -> str:
    lease = said.get("lease")
    return str(lease.get("owner", "")) if isinstance(lease, Mapping) else ""


def _told(name: str, lease: Json) -> str:
    return (
        f"{name}: the lease of {lease['owner']} ({lease['purpose']}) since {lease['since']} "
        f"ended {lease['expires_at']} and is taken over."
    )
