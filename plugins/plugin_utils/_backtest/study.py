# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Several policies over one recording: which ones, and their results beside what really happened."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.recording import Recording
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.replay import Replay
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.result import happened
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.samples import Read
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.settings import Settings
from ansible_collections.virtops.balance.plugins.plugin_utils._backtest.suggest import front
from ansible_collections.virtops.balance.plugins.plugin_utils._errors import PolicyError
from ansible_collections.virtops.balance.plugins.plugin_utils._options import Problems, read
from ansible_collections.virtops.balance.plugins.plugin_utils._policy.policy import Policy
from ansible_collections.virtops.balance.plugins.plugin_utils._text import shown
from ansible_collections.virtops.balance.plugins.plugin_utils._times import stamp

Json = dict[str, t.Any]

SCHEMA = 1
BASE = "policy"
"""What the policy of the inventory is called."""


def named_policies(policies: t.Any, changes: t.Any, base: t.Any) -> dict[str, Json]:
    """The complete policies by name, in the order in which they were given.

    ``policies``: whole policies by name. ``changes``: by name the keys that differ from ``base``, which then is one of
    the policies too. Without either there is ``base`` alone. Raises PolicyError with all that is wrong.
    """
    problems, found = Problems(), {}
    base = {} if base is None else base
    for what, value in (("policies", policies), ("changes", changes)):
        if value is not None and not isinstance(value, Mapping):
            problems.add(f"{what} must be a mapping of names to policies, not {shown(value)}.")
    problems.stop()
    if changes or not policies:
        found[BASE] = _complete(BASE, base, problems)
    for name, policy in (policies or {}).items():
        found[name] = _complete(name, policy, problems)
    for name, differs in (changes or {}).items():
        if name in found:
            problems.add(f"There are two policies with the name {name!r}. Give one of them another name.")
        if differs is not None and not isinstance(differs, Mapping):
            problems.add(_nameless(name, differs))
            continue
        found[name] = _complete(name, {**base, **(differs or {})} if isinstance(base, Mapping) else base, problems)
    problems.stop()
    return found


def _nameless(name: str, value: t.Any) -> str:
    """What is wrong with changes that are no mapping: often they are keys of a policy, without a name for them."""
    if name in Policy().to_mapping():
        key = f"{{{name}: {shown(value)}}}"
        return f"Give the changes a name first: {{calm: {key}}}, not {key}."
    return f"The changes {name!r} must be a mapping of the keys that differ, not {shown(value)}."


def _complete(name: str, policy: t.Any, problems: Problems) -> Json:
    try:
        return Policy.from_mapping(policy).to_mapping()
    except PolicyError as error:
        problems.add(f"Policy {name!r}: {error}" if name != BASE else str(error))
        return {}


def check_hosts(policies: Mapping[str, Json], recording: Recording) -> None:
    """Raise PolicyError where a policy names a host that is not in the recording, and no group is of that name."""
    groups = {group for host in recording.hosts.values() for group in host.facts.get("groups") or ()}
    problems = Problems()
    for name, policy in policies.items():
        try:
            Policy.from_mapping(policy).check_hosts(recording.hosts, groups)
        except PolicyError as error:
            problems.add(f"Policy {name!r}: {error}".replace("snapshot", "recording"))
    problems.stop()


def differing(policy: Json, base: Json) -> Json:
    """The keys of a complete policy that differ from those of another one, with the values of the first. Of a mapping,
    only the keys in it that differ."""
    found = {}
    for key, value in policy.items():
        other = base.get(key)
        if value != other:
            both = isinstance(value, dict) and isinstance(other, dict)
            found[key] = (differing(value, t.cast(Json, other)) or value) if both else value
    return found


def read_settings(data: t.Any, what: str = "settings") -> Settings:
    """``what`` is what errors call them. Raises PolicyError where they are wrong."""
    return read(Settings, {} if data is None else data, what)


def replay(recording: Recording, policy: Json, settings: Settings) -> Json:
    """The result of a policy, from the first run to the last."""
    work = Replay(recording, policy, settings)
    while work.done < work.steps:
        work.step()
    return work.result()


def results_of(
    found: Read,
    policies: Mapping[str, Json],
    settings: Settings,
    replayed: Mapping[str, Json],
    *,
    source: str,
    suggest: bool = False,
    base: str | None = None,
    watts: str = "Set balance_power_model",
) -> Json:
    """What was replayed, by the names of the policies, beside what happened; plain JSON, see the filter ``backtest``.

    What happened is judged by the cpu_limit of the first policy. ``source``: where the recording came from. With
    ``suggest`` all others are changes of the first one; they are sorted by what they left unserved, and ``suggested``
    says which of them are on the front, and in which keys these differ from the first. ``base``: in words, whose the
    policy ``BASE`` is. ``watts``: what one does to have power models.
    """
    recording, usual = found.recording, Policy().to_mapping()
    limit = next(iter(policies.values()))["cpu_limit"]
    real = {**happened(recording, limit), "limit": limit, "differs": {}}
    results = [real]
    for name, policy in policies.items():
        own = {"policy": name, "limit": policy["cpu_limit"], "differs": differing(policy, usual)}
        results.append({**replayed[name], **own})
    suggested = None
    if suggest:
        results[2:] = sorted(results[2:], key=lambda result: (result["unserved"], result["moves"]))
        first = next(iter(policies.values()))
        suggested = {name: differing(policies[name], first) for name in front(results[1:])}
    return {
        "schema": SCHEMA,
        "suggested": suggested,
        "recording": {
            "source": source,
            "begins_at": stamp(recording.begins_at),
            "ends_at": stamp(recording.time(recording.steps - 1)),
            "step_seconds": recording.step,
            "run_seconds": recording.step * settings.every,
            "steps": recording.steps,
            "hosts": len(recording.hosts),
            "domains": len(recording.domains),
            "policy": base if BASE in policies else None,
        },
        "notes": [*found.notes, *_notes(recording, policies, results, watts)],
        "results": results,
    }


def _notes(recording: Recording, policies: Mapping[str, Json], results: Sequence[Json], watts: str) -> list[str]:
    notes = []
    able = sum("may_sleep" not in host.facts and host.power is not None for host in recording.hosts.values())
    if able and any(policy["strategy"] == "consolidate" for policy in policies.values()):
        notes.append(
            f"Whether {able} of {len(recording.hosts)} hosts can sleep and be woken is not known: they are taken to, "
            "because they have a power model."
        )
    powerless = sum(host.power is None for host in recording.hosts.values())
    if powerless:
        notes.append(
            f"kWh is not known, because {powerless} of {len(recording.hosts)} hosts have no power model. "
            f"{watts} to have it modelled."
        )
    if results[0].get("unserved") is None:
        notes.append("What was not served in reality is not known, because waiting for a CPU was not measured.")
    return notes
