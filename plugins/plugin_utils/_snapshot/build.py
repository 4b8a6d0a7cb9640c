# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Joins the observations of single hosts to the snapshot of the fleet, with all doubts about where domains run.

A domain may be observed on two hosts only during a migration: the source with an outgoing job and the
destination with an incoming one (libvirt's states: the destination is paused with the reason migration or starting_up
until the switch-over; with post-copy it runs while the source still has its job).
"""

from __future__ import annotations

import json
import shlex
import sys
import typing as t
from collections.abc import Container, Mapping, Sequence
from datetime import datetime

from ansible_collections.virtops.balance.plugins.plugin_utils._errors import SnapshotError
from ansible_collections.virtops.balance.plugins.plugin_utils._power_model import SOURCE, power
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.host_speed import host_speeds
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.joined_history import at_speed, join
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import SCHEMA, check_schema
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.own_load import with_own_cores
from ansible_collections.virtops.balance.plugins.plugin_utils._times import parse

Json = dict[str, t.Any]

_INCOMING_REASONS = ("migration", "starting_up")


def build_snapshot(
    observations: t.Any,
    *,
    groups: t.Mapping[str, t.Any] | None = None,
    tags: t.Mapping[str, t.Any] | None = None,
    migration_uris: t.Mapping[str, t.Any] | None = None,
    may_sleep: t.Sequence[t.Any] | None = None,
    power_models: t.Mapping[str, t.Any] | None = None,
    power_states: t.Mapping[str, t.Any] | None = None,
    histories: t.Mapping[str, t.Any] | None = None,
    leases: t.Mapping[str, t.Any] | None = None,
    last_states: t.Mapping[str, t.Any] | None = None,
    speeds: t.Mapping[str, t.Any] | None = None,
) -> Json:
    """Join the observations of all hosts to one snapshot.

    ``observations`` maps each inventory host to the result of host_info: a mapping with ``observation`` (a mapping, or
    the same as a JSON text), or one with ``failed``, ``unreachable`` and ``msg``; null where there is no result.
    ``may_sleep`` are the hosts that can be put to sleep and woken. ``power_states`` maps hosts that do not answer to
    the result of host_power (state=query), if there is one. ``histories`` maps inventory hosts to
    ``history``, ``history_problem`` and ``domains`` (UUID -> history), instead of the histories in their observations.
    ``leases`` maps hosts that could not be leased to the result of host_lease; their observation does not count.
    ``last_states`` maps hosts to their state in the previous run. ``speeds`` maps hosts to what one of their threads
    does (see host_speed.py). The other arguments map inventory hosts to values of the inventory.
    """
    if not isinstance(observations, Mapping):
        raise SnapshotError(
            f"Observations must be a mapping of host names to results of host_info, not {type(observations).__name__}."
        )
    hosts: dict[str, Json] = {}
    seen: dict[str, list[tuple[str, Json]]] = {}
    departed: dict[str, list[tuple[str, t.Any]]] = {}
    times: list[tuple[datetime, str]] = []
    for name in sorted(observations, key=str):
        unleased = _mapping((leases or {}).get(name))
        observation, problem = (None, _no_lease(unleased)) if unleased else _observation(observations[name])
        if observation is not None and histories is not None:
            observation = _with_history(observation, _mapping(histories.get(name)))
        host: Json = {
            "state": "active" if problem is None else "unknown",
            "problem": problem,
            "tags": _list(tags, name),
            "groups": _list(groups, name),
            "migration_uri": (migration_uris or {}).get(name) or None,
            "may_sleep": name in (may_sleep or ()),
            "power_model": (power_models or {}).get(name),
        }
        hosts[str(name)] = host
        if observation is None:
            host["known_last"] = (last_states or {}).get(name, "unknown") != "unknown"
            continue
        host.update({key: value for key, value in observation["host"].items() if key not in host})
        if host.get("history") is not None:
            host["history"] = _with_own_cores(host, observation)
        if _mapping(host.get("marks")).get("drained"):
            host["state"] = "drained"
        _tell_power(str(name), host)
        host["inactive_domains"] = observation.get("inactive_domains")
        moment = parse(str(observation.get("taken_at")))
        if moment is not None:
            times.append((moment, str(observation["taken_at"])))
        for domain in observation["domains"]:
            seen.setdefault(str(domain["uuid"]).lower(), []).append((str(name), domain))
        for uuid, history in _mapping(observation.get("departed_domains")).items():
            departed.setdefault(str(uuid).lower(), []).append((str(name), history))
    awake = {str(name) for name, said in (leases or {}).items() if _mapping(said).get("unusable")}
    _tell_asleep(hosts, _mapping(power_states), awake)
    for name, speed in host_speeds(hosts, speeds or {}).items():
        hosts[name]["speed"] = speed
    doubts = _host_doubts(hosts)
    domains = {}
    for uuid in sorted(seen):
        domain, doubt = _join(uuid, seen[uuid])
        domain["history"] = _history(domain, seen[uuid], departed.get(uuid, []), hosts)
        domains[uuid] = domain
        if doubt is not None:
            doubts.append(doubt)
    return {
        "schema": SCHEMA,
        "taken_at": max(times)[1] if times else None,
        "hosts": hosts,
        "domains": domains,
        "doubts": doubts,
    }


def _tell_power(name: str, host: Json) -> None:
    """If the power of the host is not measured, model it from its load and the power model of the inventory."""
    model = power(host["power_model"], f"The power model of {name}")
    drawn, usage = _mapping(host.get("power")), _mapping(host.get("cpu")).get("usage")
    if drawn.get("watts") is None and model is not None and isinstance(usage, (int, float)):
        host["power"] = {**drawn, "watts": round(model.watts(usage), 1), "source": SOURCE}


def _tell_asleep(hosts: dict[str, Json], power_states: Mapping[str, t.Any], awake: Container[str]) -> None:
    """Mark hosts as asleep that do not answer and that another host stores as put to sleep, unless their BMC reports
    that they are on. The newest of several marks counts. A host that is merely off may be off for another reason. Hosts
    in ``awake`` did answer, and are unknown for another reason.
    """
    remembered: dict[str, Json] = {}
    for host in hosts.values():
        for name, known in _mapping(_mapping(host.get("marks")).get("asleep")).items():
            if isinstance(known, Mapping) and str(known.get("since")) >= str(remembered.get(name, {}).get("since", "")):
                remembered[name] = dict(known)
    for name, host in hosts.items():
        if host["state"] != "unknown" or name in awake:
            continue
        said = _mapping(_mapping(power_states.get(name)).get("power"))
        off, who = said.get("state") == "asleep", said.get("seen_by")
        if name not in remembered:
            if off:
                host["problem"] = f"It is off according to its {who}, and no run has put it to sleep. {host['problem']}"
        elif off or who is None:
            host.update(state="asleep", problem=None, asleep={**remembered[name], "seen_by": who})
        else:
            host["problem"] = said.get("problem") or "It was put to sleep, but is awake."


def _with_own_cores(host: Json, observation: Json) -> t.Any:
    past = [domain.get("history") for domain in observation["domains"]]
    past += _mapping(observation.get("departed_domains")).values()
    return with_own_cores(host["history"], _mapping(host.get("cpu")).get("threads"), past)


def _list(values: t.Mapping[str, t.Any] | None, name: str) -> list[str]:
    value = (values or {}).get(name) or []
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise SnapshotError(f"Tags and groups must be lists; host {name!r} has {value!r}.")
    return sorted(str(item) for item in value)


def _observation(result: t.Any) -> tuple[Json | None, str | None]:
    """The observation of one host and None, or None and the reason why there is none."""
    if not isinstance(result, Mapping):
        return None, "There is no result of host_info for this host."
    message = " ".join(str(result.get("msg") or "").split())
    if result.get("unreachable"):
        return None, message or "The host did not answer."
    if result.get("failed"):
        return None, message or "Observing the host failed."
    if result.get("skipped"):
        return None, "The host did not answer at the start of the run, so it has no lease."
    observation = result.get("observation")
    if isinstance(observation, str):
        try:
            observation = json.loads(observation)
        except ValueError:
            return None, "The host's observation is not valid JSON."
    if not isinstance(observation, Mapping):
        return None, message or "The result has no observation."
    try:
        check_schema(observation.get("schema"), "The host's observation")
    except SnapshotError as error:
        return None, str(error)
    domains = observation.get("domains")
    if not isinstance(observation.get("host"), Mapping) or not isinstance(domains, list):
        return None, "The host's observation lacks 'host' or 'domains'."
    if any(not isinstance(domain, Mapping) or not domain.get("uuid") for domain in domains):
        return None, "The host's observation has a domain without a UUID."
    return dict(observation), None


def _no_lease(said: Mapping[str, t.Any]) -> str:
    """Why a host without a lease takes no part."""
    message = " ".join(str(said.get("msg") or "").split())
    if said.get("unusable"):
        return f"It answers, but it cannot be leased. {message}".strip()
    return message or "The host did not answer when its lease was requested."


def _host_doubts(hosts: dict[str, Json]) -> list[Json]:
    by_uuid: dict[str, list[str]] = {}
    for name, host in hosts.items():
        if host.get("uuid"):
            by_uuid.setdefault(str(host["uuid"]).lower(), []).append(name)
    return [
        {
            "kind": "host_uuid_twice",
            "message": f"Hosts {_and(names)} report the same host UUID {uuid}: they are one host under two names, "
            "or need a host_uuid of their own in libvirtd.conf.",
            "hosts": names,
            "domain": None,
        }
        for uuid, names in sorted(by_uuid.items())
        if len(names) > 1
    ]


def _join(uuid: str, seen: list[tuple[str, Json]]) -> tuple[Json, Json | None]:
    """The domain for the snapshot, and a doubt if it is not certain on which host it runs."""
    if len(seen) == 1:
        host, domain = seen[0]
        return _placed(uuid, domain, host), None
    if len(seen) == 2:
        for (source, outgoing), (destination, incoming) in (seen, seen[::-1]):
            if _is_source(outgoing) and _is_destination(incoming):
                return _placed(uuid, outgoing, source, destination), None
    names = [host for host, domain in seen]
    doubt = {
        "kind": "domain_on_two_hosts",
        "message": _stale_copy(uuid, seen)
        or f"Domain {seen[0][1].get('name') or uuid!r} ({uuid}) is active on {_and(names)} "
        "and this is not one migration under way: find out which one is right before anything is moved.",
        "hosts": names,
        "domain": uuid,
    }
    return _placed(uuid, seen[0][1], names[0]), doubt


def _stale_copy(uuid: str, seen: list[tuple[str, Json]]) -> str | None:
    """Which of two copies is stale, if the end of the migration between them was never confirmed to the source."""
    for (source, left), (destination, arrived) in (seen, seen[::-1]) if len(seen) == 2 else ():
        note = _mapping(left.get("unfinished_move"))
        if (note.get("source"), note.get("destination")) == (source, destination) and _is_left(left, arrived):
            name = str(left.get("name") or uuid)
            return (
                f"Domain {name!r} ({uuid}) runs on {destination}, and {source} still holds the paused copy of it that "
                f"its migration left. Never resume that copy: once it is certain that the domain works on "
                f"{destination}, destroy it on {source} (virsh destroy {shlex.quote(name)}), and undefine it there "
                f"where it is still defined (virsh undefine --keep-nvram {shlex.quote(name)}), so that nobody starts "
                "it a second time."
            )
    return None


def _is_left(left: Json, arrived: Json) -> bool:
    return (left.get("state"), left.get("reason")) == ("paused", "migration") and (
        arrived.get("state") in ("running", "blocked")
        and arrived.get("reason") not in ("postcopy", "postcopy_failed")
        and _operation(left) is None
        and _operation(arrived) is None
    )


def _with_history(observation: Json, known: t.Mapping[str, t.Any]) -> Json:
    """The observation with histories of another source instead of its own."""
    past = {str(uuid).lower(): history for uuid, history in _mapping(known.get("domains")).items()}
    domains = [{**domain, "history": past.pop(str(domain["uuid"]).lower(), None)} for domain in observation["domains"]]
    problem = known.get("history_problem") if known else "The source of the histories has no data about this host."
    host = {**observation["host"], "history": known.get("history"), "history_problem": problem}
    return {**observation, "host": host, "domains": domains, "departed_domains": past}


def _history(
    placed: Json, seen: list[tuple[str, Json]], departed: list[tuple[str, t.Any]], hosts: Mapping[str, Json]
) -> Json | None:
    """The histories of a domain on all hosts: its present host first, then the host that it left last. All in cores of
    its present host."""
    here = [domain.get("history") for host, domain in seen if host == placed["host"]]
    elsewhere = [(host, domain.get("history")) for host, domain in seen if host != placed["host"]]
    elsewhere += sorted(departed, key=lambda left: _last_known(left[1]), reverse=True)
    speed = hosts[placed["host"]]["speed"] or 1.0
    return join([*here, *(at_speed(history, (hosts[host]["speed"] or 1.0) / speed) for host, history in elsewhere)])


def _last_known(history: t.Any) -> int:
    """The index of the last known sample of a history, counted from its end."""
    columns = [values for values in _mapping(history).values() if isinstance(values, list)]
    known = [index - len(values) for values in columns for index, value in enumerate(values) if value is not None]
    return max(known, default=-sys.maxsize)


def _mapping(value: t.Any) -> t.Mapping[str, t.Any]:
    return value if isinstance(value, Mapping) else {}


def _operation(domain: Json) -> str | None:
    job = domain.get("job")
    return job.get("operation") if isinstance(job, Mapping) else None


def _is_source(domain: Json) -> bool:
    return domain.get("state") in ("running", "paused") and _operation(domain) == "migration_out"


def _is_destination(domain: Json) -> bool:
    if _operation(domain) is not None:
        return _operation(domain) == "migration_in"
    return domain.get("state") == "paused" and domain.get("reason") in _INCOMING_REASONS


def _placed(uuid: str, domain: Json, host: str, destination: str | None = None) -> Json:
    placed: Json = {**domain, "uuid": uuid, "host": host, "destination": destination}
    if (
        destination is None
        and domain.get("state") == "paused"
        and domain.get("reason") == "migration"
        and _operation(domain) is None
    ):
        blockers = list(domain.get("blockers") or [])
        if all(blocker.get("code") != "interrupted_migration" for blocker in blockers):
            blockers.append({"code": "interrupted_migration", "message": "paused by a migration that no longer runs"})
        placed["blockers"] = blockers
    return placed


def _and(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1]
