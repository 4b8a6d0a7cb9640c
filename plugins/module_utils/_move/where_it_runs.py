# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: where a domain is, judged from what both ends of a migration say.

The error of a migration says little (several quite different ends share one number, and a lost connection says
nothing at all), so the verdict never rests on it. It is a pure function over two readings. Its rules follow from
libvirt's migration protocol, version 3: the source pauses the domain, the destination starts it (Finish), and only
then the source lets go of its own (Confirm). Source: https://libvirt.org/migration.html,
src/libvirt-domain.c (virDomainMigrateVersion3Full).
"""

from __future__ import annotations

import shlex
import typing as t
from dataclasses import dataclass

from ansible_collections.virtops.balance.plugins.module_utils._domain.metadata import MoveNote

ON_SOURCE = "on_source"
ON_DESTINATION = "on_destination"
IN_FLIGHT = "in_flight"
FINISHED_UNCONFIRMED = "finished_unconfirmed"
NEVER_FINISHED = "never_finished"
MAY_HAVE_RUN = "may_have_run"
POSTCOPY_FAILED = "postcopy_failed"
SPLIT = "split"
GONE = "gone"
UNKNOWN = "unknown"

OUTCOMES = (
    ON_SOURCE,
    ON_DESTINATION,
    IN_FLIGHT,
    FINISHED_UNCONFIRMED,
    NEVER_FINISHED,
    MAY_HAVE_RUN,
    POSTCOPY_FAILED,
    SPLIT,
    GONE,
    UNKNOWN,
)

# The definition of a domain that a host does not have.
NO_DEFINITION = "none"

# Of a domain that is arriving and has not been started.
_WAITING_REASONS = ("migration", "starting_up")


@dataclass(frozen=True)
class Side:
    """What one host says about a domain. Names of states and reasons are those of the observation.

    RV(active) is False for a domain that the host does not have or that is shut off there; then RV(definition) is
    NO_DEFINITION or a hash of what is defined, None where that cannot be read. RV(note) is the note of a move on a copy
    that waits. RV(problem) says why the host could not be asked; then nothing else is known.
    """

    host: str
    problem: str | None = None
    active: bool = False
    state: str | None = None
    reason: str | None = None
    job: str | None = None
    persistent: bool | None = None
    definition: str | None = None
    note: MoveNote | None = None

    @property
    def reachable(self) -> bool:
        return self.problem is None

    @property
    def migrating(self) -> bool:
        """A migration holds it, or something that libvirt could not look into (job unknown)."""
        return self.job in ("migration_out", "migration_in", "unknown")

    @property
    def running(self) -> bool:
        """It is executed here: whatever is active and not held back by a migration."""
        return self.active and not self.waiting and not self.handed_over

    @property
    def waiting(self) -> bool:
        """It is the paused copy that a migration fills or has filled."""
        return self.active and self.state == "paused" and self.reason in _WAITING_REASONS

    @property
    def starting(self) -> bool:
        """Its QEMU is being started, by whomever."""
        return self.waiting and self.reason == "starting_up"

    @property
    def handed_over(self) -> bool:
        """It is paused because its other half runs elsewhere (post-copy)."""
        return self.active and self.state == "paused" and self.reason in ("postcopy", "postcopy_failed")

    def to_result(self) -> dict[str, t.Any]:
        return {
            "host": self.host,
            "reachable": self.reachable,
            "active": self.active if self.reachable else None,
            "state": self.state,
            "reason": self.reason,
            "job": self.job,
            "persistent": self.persistent,
        }


@dataclass(frozen=True)
class Residency:
    """The verdict: one of OUTCOMES, and one sentence for a person."""

    outcome: str
    sentence: str

    @property
    def certain(self) -> bool:
        """It runs on exactly one of the two hosts, and nothing is under way."""
        return self.outcome in (ON_SOURCE, ON_DESTINATION)


def judge(name: str, source: Side, destination: Side) -> Residency:
    """Say where the domain RV(name) is. Both sides must have been read after the migration was asked for."""
    if not source.reachable or not destination.reachable:
        return _judge_with_a_side_missing(name, source, destination)
    if "postcopy_failed" in (source.reason, destination.reason):
        return Residency(
            POSTCOPY_FAILED,
            f"The post-copy phase of {name} from {source.host} to {destination.host} broke. Neither host has its "
            "complete memory: destroy neither, and resume the migration (virsh migrate --postcopy-resume).",
        )
    if "postcopy" in (source.reason, destination.reason):
        return _in_flight(name, source, destination)
    if source.active and destination.active:
        return _judge_two_copies(name, source, destination)
    if source.active:
        return _judge_source_only(name, source, destination)
    if destination.starting:
        return Residency(IN_FLIGHT, f"{name} is being started on {destination.host}.")
    if destination.waiting and destination.migrating:
        return Residency(IN_FLIGHT, f"{name} is being migrated to {destination.host}.")
    if destination.waiting:
        return Residency(
            UNKNOWN,
            f"{name} is no longer active on {source.host}, and {destination.host} holds only a copy of it that was "
            "not started, although no migration is under way: it probably crashed while it moved. Start it nowhere "
            f"before that copy is gone from {destination.host}.",
        )
    if destination.active:
        return Residency(ON_DESTINATION, f"{name} is {how(destination)} on {destination.host}.")
    return Residency(
        GONE,
        f"{name} is active neither on {source.host} nor on {destination.host}: it was stopped or crashed meanwhile.",
    )


def how(side: Side) -> str:
    return f"{side.state} ({side.reason})" if side.state == "paused" and side.reason else side.state or "active"


def _in_flight(name: str, source: Side, destination: Side) -> Residency:
    return Residency(IN_FLIGHT, f"{name} is being migrated between {source.host} and {destination.host}.")


def _judge_two_copies(name: str, source: Side, destination: Side) -> Residency:
    if source.migrating:
        # Once the destination runs, the source is paused and only waits to let go.
        if destination.waiting or source.waiting:
            return _in_flight(name, source, destination)
    elif source.waiting and not source.starting and destination.running:
        return Residency(
            FINISHED_UNCONFIRMED,
            f"{name} runs on {destination.host}, and {source.host} still holds a paused copy of it because the "
            f"confirmation was lost. Never resume that copy: once it is certain that the domain works on "
            f"{destination.host}, destroy it on {source.host} (virsh destroy {shlex.quote(name)}), and undefine it "
            f"there where it is still defined (virsh undefine --keep-nvram {shlex.quote(name)}), so that nobody starts "
            "it a second time.",
        )
    elif destination.waiting or source.waiting:
        return Residency(
            UNKNOWN,
            f"{source.host} and {destination.host} both hold {name} ({how(source)} and {how(destination)}), and "
            "no migration is under way: resume and destroy neither before it is clear which one is right.",
        )
    return Residency(
        SPLIT,
        f"{name} is active on {source.host} ({how(source)}) and on {destination.host} ({how(destination)}) at the "
        "same time. Its disks may be written by both: decide at once which one stays, and destroy the other.",
    )


def _judge_source_only(name: str, source: Side, destination: Side) -> Residency:
    if source.migrating:
        return _in_flight(name, source, destination)
    if source.starting:
        return Residency(IN_FLIGHT, f"{name} is being started on {source.host}.")
    if source.waiting:
        paused = f"{name} is paused on {source.host} by a migration that no longer runs, and"
        doubt = _why_it_may_have_run(source, destination)
        if doubt is None:
            return Residency(
                NEVER_FINISHED,
                f"{paused} {destination.host} has of it what it had before: unless somebody has moved it on or "
                f"undefined it there since, it was never started there and may be resumed on {source.host}.",
            )
        return Residency(
            MAY_HAVE_RUN,
            f"{paused} it may have run on {destination.host} and ended there: {doubt}. Never resume it on "
            f"{source.host} if it has: its disks would be newer than its memory. What became of it is in "
            f"/var/log/libvirt/qemu/{name}.log on {destination.host}, and until that is clear, undefine it nowhere. If "
            f"it ran there, destroy it on {source.host} (virsh destroy {shlex.quote(name)}) and start it anew, on one "
            "host only.",
        )
    return Residency(ON_SOURCE, f"{name} is {how(source)} on {source.host}.")


def _why_it_may_have_run(source: Side, destination: Side) -> str | None:
    """Return what keeps from saying that the paused copy on the source is the newest there is; None = nothing does.

    Before QEMU's driver starts a persistent domain on the destination it defines it there (qemuMigrationDstFinishFresh
    in libvirt's src/qemu/qemu_migration.c). So the destination has not started it if its definition is what the note
    of this very move says that it was before. Of a domain that is not defined there nothing stays, and whatever cannot
    be read is no proof.
    """
    note = source.note
    if note is None or note.restart:
        return f"no note tells what {destination.host} had of it before"
    if (note.source, note.destination) != (source.host, destination.host):
        return f"the note on it is of a move from {note.source} to {note.destination}"
    if note.destination_had is None:
        return f"the note on it does not tell what {destination.host} had of it before"
    if destination.definition is None:
        return f"its definition on {destination.host} cannot be read"
    if destination.definition != note.destination_had:
        return f"its definition on {destination.host} is not what it was before the migration"
    return None


def _judge_with_a_side_missing(name: str, source: Side, destination: Side) -> Residency:
    # A source that runs and was never stopped for the hand-over has not let the destination start. The reason
    # migration_canceled says that it was stopped and went on by itself, and then the destination may run as well.
    if source.reachable and source.running and source.job is None and source.reason != "migration_canceled":
        return Residency(ON_SOURCE, f"{name} is {how(source)} on {source.host}; {destination.host} does not answer.")
    silent = source if not source.reachable else destination
    other = destination if silent is source else source
    seen = (
        f"{other.host} says: {how(other) if other.active else 'not active'}"
        if other.reachable
        else (f"{other.host} does not answer either")
    )
    return Residency(
        UNKNOWN,
        f"It cannot be known where {name} runs: {silent.host} does not answer ({silent.problem}), and {seen}. Do not "
        f"start, resume or destroy it anywhere before {silent.host} is back or known to be off.",
    )
