# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: everything that a host is asked about the others, in one answer."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection, connect
from ansible_collections.virtops.balance.plugins.module_utils._doctor import (
    cpu_models,
    guest_needs,
    peers,
    shared_paths,
)
from ansible_collections.virtops.balance.plugins.module_utils._doctor.peers import Peer
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError, translate
from ansible_collections.virtops.balance.plugins.module_utils._option_checks import check_number

_OWN_SECONDS = 60.0


@dataclass(frozen=True)
class Deadlines:
    """How long one connection of libvirt, and one to a port, may take, in seconds."""

    connect: float
    port: float


def ask(api: t.Any, uri: str, name: str, questions: t.Mapping[str, t.Any], deadlines: Deadlines) -> dict[str, t.Any]:
    """Return {peers, paths, baselines}. Raises BalanceError where this host's own libvirt does not answer."""
    check_number("connect_seconds", deadlines.connect, 1, 600)
    check_number("port_seconds", deadlines.port, 0.1, 60)
    asked = _checked(questions, name)
    cpus, baselines = _ask_this_host(api, uri, name, asked["baselines"])
    others = [
        Peer(other, found["uri"], found["host"], tuple(found["ports"]))
        for other, found in ((other, asked["peers"][other]) for other in peers.in_turn(list(asked["peers"]), name))
    ]
    return {
        "peers": peers.ask_all(
            others,
            lambda peer: peers.ask_one(
                api, peer, cpus=cpus, connect_seconds=deadlines.connect, port_seconds=deadlines.port
            ),
        ),
        "paths": shared_paths.seen(asked["paths"], hosts=[peer.name for peer in others], run=asked["run"]),
        "baselines": baselines,
    }


def _checked(questions: t.Mapping[str, t.Any], name: str) -> t.Mapping[str, t.Any]:
    if not {"run", "peers", "paths", "baselines"}.issubset(questions):
        raise BalanceError("questions must be what the filter virtops.balance.doctor_questions returns.")
    if name not in questions["peers"]:
        raise BalanceError(f"questions has no host {name!r}.")
    return questions


def _ask_this_host(
    api: t.Any, uri: str, name: str, baselines: t.Sequence[t.Mapping[str, t.Any]]
) -> tuple[peers.Cpus, list[dict[str, t.Any]]]:
    def ask_it(connection: Connection) -> tuple[peers.Cpus, list[dict[str, t.Any]]]:
        needs = guest_needs.read(connection)
        return (
            [] if needs is None else guest_needs.comparable_cpus(connection, needs),
            [
                {
                    "number": number,
                    **cpu_models.best_common(
                        connection, **{key: question[key] for key in ("arch", "domain_type", "cpus")}
                    ),
                }
                for number, question in enumerate(baselines)
                if name in question["asked"]
            ],
        )

    with connect(api, uri, read_only=False) as connection:
        try:
            return connection.call(lambda: ask_it(connection), _OWN_SECONDS, doing=f"ask {uri} about its guests")
        except api.libvirtError as error:
            raise translate(api, error, doing=f"ask {uri} about its guests") from error
