# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import threading
import typing as t

import pytest

from ansible_collections.virtops.balance.plugins.module_utils import _connection
from ansible_collections.virtops.balance.plugins.module_utils._domain import metadata as domain_metadata
from ansible_collections.virtops.balance.plugins.module_utils._domain import move_note
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError
from ansible_collections.virtops.balance.plugins.module_utils._move import desired_state, libvirt_migration
from ansible_collections.virtops.balance.plugins.module_utils._move import finish as finish_move
from ansible_collections.virtops.balance.plugins.module_utils._move import restart as _restart
from ansible_collections.virtops.balance.plugins.module_utils._observe import host_facts, procfs
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_fleet import (
    DISK,
    RUNNING,
    UUID,
    Domain,
    Fleet,
    Host,
)
from ansible_collections.virtops.balance.tests.unit.plugins.module_utils.fake_libvirt import FakeLibvirtError

NOW = "2026-01-31T12:00:00Z"
SHARED = DISK.format(cache="none", path="/srv/images/web-1.qcow2", target="vda")
REFUSED = FakeLibvirtError(1, "internal error: cannot start it here")


@pytest.fixture(autouse=True)
def _world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_ensure_events", lambda _api: None)
    monkeypatch.setattr(procfs, "read_mounts", list)


class Clock:
    """Seconds pass only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def wait(self, _event: threading.Event, seconds: float) -> bool:
        self.now += seconds
        return False

    def clock(self) -> libvirt_migration.Clock:
        return libvirt_migration.Clock(monotonic=lambda: self.now, wait=self.wait)


def restart(fleet: Fleet, *, check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
    asked = {"uri": "test://kvm1/", "domain": "web-1", "destination_uri": "test://kvm2/"}
    names = {"source": "kvm1", "destination": "kvm2", "shared_paths": ["/srv/images"]}
    others: dict[str, t.Any] = {"timeout_seconds": 180, "force": False, "memory_reserve_mib": 256, "finish": None}
    return _restart.restart(
        fleet,
        _restart.Request(**{**asked, **names, **others, **options}),
        check_mode=check_mode,
        now=lambda: NOW,
        clock=Clock().clock(),
    )


def fails(fleet: Fleet, **options: t.Any) -> BalanceError:
    with pytest.raises(BalanceError) as raised:
        restart(fleet, **options)
    return raised.value


def running(fleet: Fleet) -> list[str]:
    """The hosts on which it runs."""
    return [name for name, host in fleet.hosts.items() for domain in host.domains if domain.now is not None]


def defined(fleet: Fleet) -> list[str]:
    return [name for name, host in fleet.hosts.items() for domain in host.domains if domain.persistent]


def web(fleet: Fleet, **values: t.Any) -> Domain:
    return fleet.add(**{"devices": SHARED, **values})


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def note(source: str = "kvm1", destination: str = "kvm2", *, autostart: bool = False, restart: bool = True) -> str:
    written = domain_metadata.MoveNote(source, destination, NOW, 0, autostart=autostart, restart=restart)
    return domain_metadata.render(domain_metadata.DomainState(unfinished_move=written))


@pytest.mark.parametrize(
    ("versions", "shares"),
    [((1, 2), "100"), ((2, 1), "10486"), ((1, 1), "1024"), ((1, None), "1024"), ((None, 2), "1024")],
)
def test_the_weight_keeps_its_meaning(
    fleet: Fleet, versions: tuple[int | None, int | None], shares: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(procfs, "read_cgroup_version", lambda: versions[0])
    monkeypatch.setattr(_restart, "is_local", lambda _uri: True)
    web(fleet, cputune="<shares>1024</shares>")

    restart(fleet, destination_cgroup_version=versions[1])

    assert [f"<shares>{shares}</shares>" in text for text in fleet.hosts["kvm2"].definitions] == [True]


def test_a_destination_observed_without_its_bridge_is_no_reason_to_shut_down(fleet: Fleet) -> None:
    fleet.hosts["kvm2"].refuses["interfaceLookupByName"] = FakeLibvirtError(3, "not supported")
    web(fleet, devices=SHARED + "<interface type='bridge'><source bridge='br0'/></interface>")
    assert "kvm2 was observed without a bridge br0" in fails(fleet, destination_bridges=["br1"]).message
    assert fleet.log == []
    assert restart(fleet, destination_bridges=["br0"])["changed"]


def test_what_the_collection_pinned_is_not_defined_there(fleet: Fleet) -> None:
    pin = "<vcpupin vcpu='0' cpuset='9'/>"
    web(fleet, cputune=pin, text="<state><before><pin vcpu='0' cpus='all'/></before></state>")

    restart(fleet)

    (definition,) = fleet.hosts["kvm2"].definitions
    assert "vcpupin" not in definition
    assert "<balance:pin" not in definition


def test_what_a_person_pinned_is_no_reason_to_shut_down(fleet: Fleet) -> None:
    web(fleet, cputune="<vcpupin vcpu='0' cpuset='9'/>")
    assert "it is pinned (vCPU 0) to CPUs which kvm2 does not have: 9" in fails(fleet).message
    assert fleet.log == []


def test_a_medium_without_which_it_does_not_start_is_no_reason_to_shut_down(fleet: Fleet) -> None:
    drive = "<disk type='file' device='cdrom'><source file='/root/a.iso' startupPolicy='{}'/><target dev='sda'/></disk>"
    # Nobody knows of a file on another machine whether others see it.
    web(fleet, devices=SHARED + drive.format("requisite"))
    assert "disk sda: /root/a.iso" in fails(fleet).message
    fleet.hosts["kvm1"].domains[0].devices = SHARED + drive.format("optional")
    assert restart(fleet)["changed"]


def test_it_is_shut_down_here_and_started_there(fleet: Fleet) -> None:
    web(fleet, auto=True)
    result = restart(fleet)
    assert (result["changed"], result["outcome"], result["destroyed"]) == (True, "on_destination", False)
    assert (running(fleet), defined(fleet)) == (["kvm2"], ["kvm2"])
    assert [step for step in fleet.log if step[1] != "setMetadata"] == [
        ("kvm2", "defineXML"),
        ("kvm1", "shutdown"),
        ("kvm1", "setAutostart"),
        ("kvm2", "create"),
        ("kvm1", "undefine"),
        ("kvm2", "setAutostart"),
    ]
    copy = fleet.hosts["kvm2"].domains[0]
    assert copy.auto
    state = domain_metadata.parse_text(copy.text)
    assert (state.unfinished_move, state.last_moved_at) == (None, NOW)
    again = restart(fleet)
    assert (again["changed"], again["destroyed"], again["reason"]) == (False, False, "web-1 is already on kvm2.")


def test_what_is_defined_there_is_what_is_defined_here_with_its_secrets(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    web(fleet)
    description, define = Domain.XMLDesc, Host.defineXML
    defined_there: list[str] = []

    def with_its_flags(domain: Domain, flags: int) -> str:
        return description(domain, flags).replace("<devices>", f"<devices><flags>{flags}</flags>")

    def noted(host: Host, text: str) -> Domain:
        defined_there.append(text)
        return define(host, text)

    monkeypatch.setattr(Domain, "XMLDesc", with_its_flags)
    monkeypatch.setattr(Host, "defineXML", noted)
    restart(fleet)
    (text,) = defined_there
    assert f"<flags>{Fleet.VIR_DOMAIN_XML_INACTIVE | Fleet.VIR_DOMAIN_XML_SECURE}</flags>" in text


def test_check_mode_touches_nothing(fleet: Fleet) -> None:
    web(fleet)
    assert restart(fleet, check_mode=True)["changed"]
    assert (fleet.log, running(fleet), defined(fleet)) == ([], ["kvm1"], ["kvm1"])


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"persistent": False}, "it is transient, so nothing of it is left once it is shut down"),
        ({"snapshots": 1}, "the domain has snapshots"),
        (
            {"boot": "<nvram type='file'>\n <source file='/var/lib/2.fd'/>\n</nvram>"},
            "the variables of its firmware are in /var/lib/2.fd",
        ),
        (
            {"boot": "<nvram>/var/lib/nvram/web-1.fd</nvram>"},
            "the variables of its firmware are in /var/lib/nvram/web-1.fd",
        ),
        (
            {"boot": "<nvram type='block'><source dev='/dev/vg/nvram'/></nvram>"},
            "the variables of its firmware are in /dev/vg/nvram",
        ),
        ({"devices": DISK.format(cache="none", path="/var/local.qcow2", target="vda")}, "/var/local.qcow2"),
        ({"devices": "<tpm model='tpm-crb'><backend type='emulator'/></tpm>"}, "TPM"),
        ({"devices": "<interface type='bridge'><source bridge='br9'/></interface>"}, "kvm2 has no bridge br9"),
    ],
)
def test_what_stands_against_it_is_said_before_anything_is_touched(
    fleet: Fleet, values: dict[str, t.Any], sentence: str
) -> None:
    web(fleet, **values)
    message = fails(fleet).message
    assert message.startswith("web-1 was not started on kvm2 instead of kvm1: ")
    assert sentence in message
    assert message.endswith("Nothing was touched.")
    assert (fleet.log, running(fleet)) == ([], ["kvm1"])


@pytest.mark.parametrize(("uri", "mounted"), [("test:///system", True), ("test://kvm1/", False)])
def test_mounts_of_this_host_tell_only_of_its_own_domains(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, uri: str, mounted: bool
) -> None:
    nfs = procfs.Mount("/srv", "nfs4", "nas:/srv")
    monkeypatch.setattr(procfs, "read_mounts", lambda: [procfs.Mount("/", "ext4", "/dev/sda1"), nfs])
    fleet.hosts[""] = fleet.hosts["kvm1"]
    web(fleet)
    if mounted:
        assert restart(fleet, uri=uri, shared_paths=[], check_mode=True)["changed"]
    else:
        assert "it is not known whether other hosts see it" in fails(fleet, uri=uri, shared_paths=[]).message


VOLUME = "<disk type='volume' device='disk'><source pool='p' volume='v'/><target dev='vda' bus='virtio'/></disk>"


@pytest.mark.parametrize(
    ("pools", "sentence"),
    [
        ([{"name": "p", "type": "dir", "path": "/pool", "shared": True}], None),
        ([{"name": "p", "type": "dir", "path": "/pool", "shared": False}], "p/v is not on shared storage"),
        (None, "it is not known whether other hosts see it"),
    ],
)
def test_a_volume_is_shared_where_its_pool_is(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, pools: list[dict[str, t.Any]] | None, sentence: str | None
) -> None:
    monkeypatch.setattr(host_facts, "read_pools", lambda _connection, _storage: pools)
    web(fleet, devices=VOLUME)
    if sentence is None:
        assert restart(fleet, check_mode=True)["changed"]
    else:
        assert sentence in fails(fleet).message


@pytest.mark.parametrize(
    "boot",
    [
        "<nvram>/srv/images/web-1.fd</nvram>",
        "<nvram type='network'><source protocol='iscsi' name='iqn/1'><host name='nas'/></source></nvram>",
    ],
)
def test_variables_of_firmware_that_are_shared_are_no_obstacle(fleet: Fleet, boot: str) -> None:
    web(fleet, boot=boot)
    assert restart(fleet, check_mode=True)["changed"]


def test_a_destination_without_room_is_no_error(fleet: Fleet) -> None:
    web(fleet, memory=4096)
    result = restart(fleet)
    assert (result["changed"], result["skipped"], running(fleet)) == (False, True, ["kvm1"])
    assert "kvm2 cannot take web-1 now: kvm2 has" in result["reason"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"now": None}, "web-1 is active neither on kvm1 nor on kvm2"),
        ({"now": (3, 1)}, "web-1 is paused (user) on kvm1"),
        ({"job": {"type": 1, "operation": 9}}, "libvirt runs a job on it (backup)"),
    ],
)
def test_what_reality_has_overtaken_is_left_alone(fleet: Fleet, values: dict[str, t.Any], reason: str) -> None:
    web(fleet, **values)
    result = restart(fleet)
    assert result["skipped"]
    assert reason in result["reason"]
    assert fleet.log == []


def test_a_domain_that_nobody_has(fleet: Fleet) -> None:
    assert restart(fleet)["reason"] == "Neither kvm1 nor kvm2 has a domain web-1."


def test_a_guest_that_does_not_shut_down_runs_on(fleet: Fleet) -> None:
    domain = web(fleet, deaf=float("inf"))
    error = fails(fleet, timeout_seconds=30)
    assert "still runs after 30 seconds (timeout_seconds)" in error.message
    assert (running(fleet), defined(fleet)) == (["kvm1"], ["kvm1"])
    assert error.details["changed"] is False
    assert move_note.read(fleet, domain) == domain_metadata.MoveNote("kvm1", "kvm2", NOW, 0, restart=True)
    # It has been asked, and may still do it, long after.
    domain.now = None
    assert restart(fleet, finish="source")["outcome"] == "on_source"
    assert (running(fleet), move_note.read(fleet, domain)) == (["kvm1"], None)


def test_a_guest_that_was_moved_elsewhere_meanwhile_is_not_started_there(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = web(fleet)
    left = (5, 4)  # shut off, migrated

    def migrated(asked: Domain) -> None:
        asked.now = None
        monkeypatch.setattr(Domain, "state", lambda one: list(left if one is domain else one.now or (5, 1)))

    monkeypatch.setattr(Domain, "shutdown", migrated)
    assert "web-1 was moved to another host while its guest was to shut down." in fails(fleet).message
    assert move_note.read(fleet, domain) is None
    # Nor by a run that follows one that was killed just then.
    domain.text = note(autostart=True)
    assert restart(fleet)["skipped"]
    restart(fleet, finish="destination")
    assert (running(fleet), move_note.read(fleet, domain), domain.auto) == ([], None, False)
    assert "create" not in [command for _host, command in fleet.log]


@pytest.mark.parametrize("host", ["kvm1", "kvm2"])
def test_a_guest_that_somebody_starts_as_soon_as_it_is_shut_down_is_not_started_a_second_time(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    web(fleet)
    shut_down = desired_state.shut_down

    def and_then_somebody_starts_it(*arguments: t.Any, **options: t.Any) -> bool:
        destroyed = shut_down(*arguments, **options)
        (found,) = fleet.hosts[host].domains
        found.create()
        return destroyed

    monkeypatch.setattr(desired_state, "shut_down", and_then_somebody_starts_it)
    error = fails(fleet)
    assert f"it was shut down, and then: web-1 is running on {host}" in error.message
    assert running(fleet) == [host]
    assert [where for where, command in fleet.log if command == "create"] == [host]


def test_a_guest_whose_source_is_lost_as_soon_as_it_is_shut_down_is_not_started(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been started there again by whoever looks after that host."""
    web(fleet)
    shut_down = desired_state.shut_down

    def and_then_it_is_lost(*arguments: t.Any, **options: t.Any) -> bool:
        destroyed = shut_down(*arguments, **options)
        fleet.down.add("kvm1")
        return destroyed

    monkeypatch.setattr(desired_state, "shut_down", and_then_it_is_lost)
    assert "it was shut down, and then: " in fails(fleet).message
    assert (running(fleet), [where for where, command in fleet.log if command == "create"]) == ([], [])


def test_a_guest_that_was_moved_elsewhere_is_not_ended_by_force_and_started_there(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = web(fleet, deaf=float("inf"))

    def migrated(asked: Domain) -> None:
        asked.now = None
        monkeypatch.setattr(Domain, "state", lambda one: [5, 4] if one is domain else list(one.now or (5, 1)))

    monkeypatch.setattr(Domain, "destroy", migrated)
    assert "web-1 was moved to another host before it was ended." in fails(fleet, force=True).message
    assert running(fleet) == []


def test_a_guest_that_does_not_shut_down_is_ended_where_that_is_wanted(fleet: Fleet) -> None:
    web(fleet, deaf=float("inf"))
    result = restart(fleet, force=True)
    assert (result["destroyed"], running(fleet)) == (True, ["kvm2"])


def test_a_copy_that_somebody_starts_meanwhile_is_not_undefined(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    web(fleet, deaf=float("inf"))
    shutdown = Domain.shutdown

    def and_it_is_started_there(domain: Domain) -> None:
        shutdown(domain)
        fleet.hosts["kvm2"].domains[0].create()

    monkeypatch.setattr(Domain, "shutdown", and_it_is_started_there)
    fails(fleet, timeout_seconds=5)
    assert running(fleet) == defined(fleet) == ["kvm1", "kvm2"]


def test_what_the_destination_does_not_take_is_not_shut_down(fleet: Fleet) -> None:
    domain = web(fleet)
    fleet.hosts["kvm2"].refuses["defineXML"] = REFUSED
    message = fails(fleet).message
    assert "cannot start it here. It was not shut down." in message
    assert "shutdown" not in domain.commands
    assert running(fleet) == ["kvm1"]


def test_a_note_that_cannot_be_removed_is_told(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise BROKEN

    web(fleet)
    fleet.hosts["kvm2"].refuses["defineXML"] = REFUSED
    monkeypatch.setattr(move_note, "end", end)
    told = "It was not shut down. And: its note could not be removed (client socket is closed)."
    assert fails(fleet).message.endswith(told)


@pytest.mark.parametrize(
    ("host", "command", "problem"),
    [
        ("kvm1", "undefine", "undefine it on kvm1, where nobody must start it"),
        ("kvm2", "setAutostart", "enable its autostart on kvm2"),
        ("kvm2", "setMetadata", "record its end"),
    ],
)
def test_what_cannot_be_put_right_once_it_runs_there_is_told(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, host: str, command: str, problem: str
) -> None:
    given = Domain._command

    def refused(domain: Domain, name: str) -> None:
        if (domain.host, name) == (host, command):
            raise REFUSED
        given(domain, name)

    web(fleet, auto=True)
    monkeypatch.setattr(Domain, "_command", refused)
    assert fails(fleet).message == (
        f"web-1 runs on kvm2 instead of kvm1, but: cannot {problem} (internal error: cannot start it here)."
    )
    copy = fleet.hosts["kvm2"].domains[0]
    assert (running(fleet), copy.auto) == (["kvm2"], command == "setMetadata")
    assert move_note.read(fleet, copy) is not None


def test_what_does_not_start_there_is_started_here_again(fleet: Fleet) -> None:
    domain = web(fleet, auto=True)
    fleet.hosts["kvm2"].refuses["create"] = REFUSED
    error = fails(fleet)
    assert domain.auto
    assert "cannot start it here. It was started again where it was: web-1 is running on kvm1." in error.message
    assert (running(fleet), defined(fleet)) == (["kvm1"], ["kvm1"])
    assert domain_metadata.parse_text(domain.text).unfinished_move is None
    assert (error.details["changed"], error.details["outcome"]) == (False, "on_source")


def test_a_definition_that_the_destination_had_before_is_not_started_with_it(fleet: Fleet) -> None:
    web(fleet, auto=True)
    copy = fleet.add("kvm2", now=None)
    fleet.hosts["kvm2"].refuses["create"] = copy.refuses["create"] = REFUSED
    fails(fleet)
    (kept,) = fleet.hosts["kvm2"].domains
    assert (running(fleet), kept.auto, move_note.read(fleet, kept)) == (["kvm1"], False, None)


@pytest.mark.parametrize("auto", [True, False])
def test_what_somebody_started_again_by_hand_starts_with_its_host_as_before(fleet: Fleet, auto: bool) -> None:
    domain = web(fleet, text=note())
    fleet.add("kvm2", now=None, text=note(autostart=auto))
    restart(fleet, finish="source")
    assert (domain.auto, running(fleet), defined(fleet)) == (auto, ["kvm1"], ["kvm1"])


def test_what_somebody_undefined_while_it_runs_cannot_start_with_its_host(fleet: Fleet) -> None:
    domain = web(fleet, persistent=False, text=note(autostart=True))
    restart(fleet, finish="source")
    assert (domain.commands, move_note.read(fleet, domain)) == (["setMetadata"], None)


@pytest.mark.parametrize(
    ("noted", "here", "there"),
    [
        (False, False, False),
        (True, False, True),
        (False, True, True),
        # Nothing is here any more.
        (True, None, True),
        (False, None, False),
    ],
)
def test_what_was_started_there_starts_with_its_host_as_it_did_here(
    fleet: Fleet, noted: bool, here: bool | None, there: bool
) -> None:
    if here is not None:
        web(fleet, now=None, text=note(autostart=noted), auto=here)
    copy = fleet.add("kvm2", text=note(autostart=noted))
    restart(fleet, finish="source")
    assert (copy.auto, move_note.read(fleet, copy)) == (there, None)
    assert (running(fleet), defined(fleet)) == (["kvm2"], ["kvm2"])


def test_what_starts_nowhere_is_said(fleet: Fleet) -> None:
    web(fleet, refuses={"create": REFUSED})
    fleet.hosts["kvm2"].refuses["create"] = REFUSED
    assert "could not be started on kvm1 again either" in fails(fleet).message


def test_nothing_is_started_here_while_nobody_knows_whether_it_runs_there(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    web(fleet)

    def create(copy: Domain) -> None:
        copy.now = RUNNING
        fleet.down.add("kvm2")
        raise FakeLibvirtError(1, "client socket is closed", 7)

    monkeypatch.setattr(Domain, "create", create)
    message = fails(fleet).message
    assert "It cannot be known where web-1 runs: kvm2 does not answer" in message
    assert running(fleet) == ["kvm2"]


BROKEN = FakeLibvirtError(1, "client socket is closed", 7)
# Starting, waiting for a migration, paused by somebody, without its disk, crashed, running.
ACTIVE = [(3, 11), (3, 2), (3, 1), (3, 5), (6, 1), RUNNING]


def breaks_while(monkeypatch: pytest.MonkeyPatch, state: tuple[int, int], then: t.Callable[[Domain], None]) -> None:
    """The connection breaks while the destination starts the domain, and ``then`` happens a little later."""
    create, look = Domain.create, Clock.wait
    waiting: list[Domain] = []

    def broken(domain: Domain) -> None:
        if domain.host == "kvm1":
            create(domain)
            return
        domain.now = state
        waiting.append(domain)
        raise BROKEN

    def wait(clock: Clock, event: threading.Event, seconds: float) -> bool:
        if waiting and clock.now > 20:
            then(waiting.pop())
        return look(clock, event, seconds)

    monkeypatch.setattr(Domain, "create", broken)
    monkeypatch.setattr(Clock, "wait", wait)


@pytest.mark.parametrize("state", ACTIVE)
def test_nothing_is_started_here_beside_a_copy_that_is_active_in_whatever_state(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, state: tuple[int, int]
) -> None:
    web(fleet)
    breaks_while(monkeypatch, state, lambda _domain: None)
    with contextlib.suppress(BalanceError):
        restart(fleet)
    assert running(fleet) == ["kvm2"]
    # Nor by a later run that is to bring it to its end.
    with contextlib.suppress(BalanceError):
        restart(fleet, finish="source")
    assert running(fleet) == ["kvm2"]


def test_a_copy_that_is_starting_is_waited_for(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    web(fleet)
    breaks_while(monkeypatch, (3, 11), lambda domain: setattr(domain, "now", RUNNING))
    assert restart(fleet)["outcome"] == "on_destination"
    assert (running(fleet), defined(fleet)) == (["kvm2"], ["kvm2"])


def test_a_start_that_fails_in_the_end_is_made_here(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    web(fleet)
    breaks_while(monkeypatch, (3, 11), lambda domain: setattr(domain, "now", None))
    assert "client socket is closed. It was started again where it was" in fails(fleet).message
    assert (running(fleet), defined(fleet)) == (["kvm1"], ["kvm1"])


def when(monkeypatch: pytest.MonkeyPatch, command: str, then: t.Callable[[Domain], None]) -> None:
    """Something happens on the destination just when the domain there gets a command."""
    given = getattr(Domain, command)

    def with_that(domain: Domain, *arguments: t.Any) -> None:
        if domain.host == "kvm2":
            then(domain)
        given(domain, *arguments)

    monkeypatch.setattr(Domain, command, with_that)


def test_a_host_that_comes_back_does_not_start_what_the_other_one_starts_just_then(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = web(fleet, auto=True)
    seen: list[tuple[bool, bool]] = []
    when(monkeypatch, "create", lambda copy: seen.append((domain.auto, copy.auto)))
    restart(fleet)
    assert seen == [(False, False)]


@pytest.mark.parametrize("state", ACTIVE)
def test_nothing_is_started_there_that_has_become_active_there_meanwhile(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, state: tuple[int, int]
) -> None:
    web(fleet)
    shutdown = Domain.shutdown

    def shut_down_and_started_there(domain: Domain) -> None:
        shutdown(domain)
        fleet.hosts["kvm2"].domains[0].now = state

    monkeypatch.setattr(Domain, "shutdown", shut_down_and_started_there)
    with contextlib.suppress(BalanceError):
        restart(fleet)
    assert running(fleet) == ["kvm2"]
    assert "create" not in [command for _host, command in fleet.log]


@pytest.mark.parametrize("finish", [None, "source"])
@pytest.mark.parametrize("state", ACTIVE)
def test_a_start_there_that_comes_through_late_keeps_it_from_being_started_here(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, state: tuple[int, int], finish: str | None
) -> None:
    # The destination is found without it, and starts it when what it got is about to be taken away.
    web(fleet, text=note(), now=None)
    fleet.add("kvm2", now=None, text=note(), refuses={"create": REFUSED})
    fleet.hosts["kvm2"].refuses["create"] = REFUSED
    when(monkeypatch, "undefine", lambda domain: setattr(domain, "now", state))
    monkeypatch.setattr(Domain, "_end", lambda _domain: None)
    message = fails(fleet, finish=finish).message
    assert "It was not started on kvm1 again: " in message
    assert running(fleet) == ["kvm2"]


@pytest.mark.parametrize("finish", [None, "source"])
def test_nothing_is_started_here_when_the_destination_is_lost_just_then(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, finish: str | None
) -> None:
    domain = web(fleet, text=note(), now=None)
    fleet.add("kvm2", now=None, text=note(), refuses={"create": REFUSED})
    fleet.hosts["kvm2"].refuses["create"] = REFUSED
    when(monkeypatch, "undefine", lambda _domain: fleet.down.add("kvm2"))
    message = fails(fleet, finish=finish).message
    assert "It was not started on kvm1 again: It cannot be known where web-1 runs" in message
    assert running(fleet) == []
    assert move_note.read(fleet, domain) is not None


@pytest.mark.parametrize("auto", [True, False])
def test_a_run_that_was_killed_after_the_shutdown_is_brought_to_its_end(fleet: Fleet, auto: bool) -> None:
    web(fleet, now=None, text=note(autostart=auto))
    result = restart(fleet)
    assert (result["changed"], running(fleet), defined(fleet)) == (True, ["kvm2"], ["kvm2"])
    assert fleet.hosts["kvm2"].domains[0].auto is auto


def test_a_run_that_was_killed_after_the_start_is_brought_to_its_end(fleet: Fleet) -> None:
    web(fleet, now=None, text=note(), auto=True)
    fleet.add("kvm2", text=note())
    result = restart(fleet)
    assert (result["changed"], running(fleet), defined(fleet)) == (True, ["kvm2"], ["kvm2"])
    assert "create" not in [command for _host, command in fleet.log]
    assert domain_metadata.parse_text(fleet.hosts["kvm2"].domains[0].text).unfinished_move is None


@pytest.mark.parametrize("other", [{"destination": "kvm3"}, {"source": "kvm3"}, {"restart": False}])
def test_the_note_of_another_move_is_not_its_own(fleet: Fleet, other: dict[str, t.Any]) -> None:
    web(fleet, now=None, text=note(**other))
    assert restart(fleet)["skipped"]
    assert restart(fleet, finish="destination")["reason"].startswith("No restart of web-1 from kvm1 to kvm2 was inter")


def test_a_domain_that_runs_on_both_is_left_alone(fleet: Fleet) -> None:
    web(fleet)
    fleet.add("kvm2")
    assert "at the same time" in fails(fleet).message
    assert fleet.log == []


def test_the_same_host_twice(fleet: Fleet) -> None:
    web(fleet)
    assert "is kvm1 itself" in fails(fleet, destination_uri="test://kvm1/").message


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"timeout_seconds": 0}, "timeout_seconds must be a number from 1 to 1,000,000, but it is 0."),
        ({"memory_reserve_mib": -1}, "memory_reserve_mib must be a number from 0 to 1,000,000,000, but it is -1."),
        ({"shared_paths": ["images"]}, "shared_paths must be absolute paths, but one is 'images'."),
    ],
)
def test_options_that_make_no_sense(fleet: Fleet, options: dict[str, t.Any], sentence: str) -> None:
    assert fails(fleet, **options).message == sentence


@pytest.mark.parametrize(
    ("options", "says_its_name", "names"),
    [
        ({"source": "alpha", "destination": "beta"}, True, ("alpha", "beta")),
        ({"source": None, "destination": None}, True, ("kvm1", "test://kvm2/")),
        ({"source": None, "destination": None}, False, ("test://kvm1/", "test://kvm2/")),
    ],
)
def test_names_of_hosts_that_are_not_given(
    fleet: Fleet, options: dict[str, t.Any], says_its_name: bool, names: tuple[str, str]
) -> None:
    web(fleet)
    fleet.hosts["kvm1"].name = "kvm1" if says_its_name else ""
    result = restart(fleet, check_mode=True, **options)
    assert (result["source"]["host"], result["destination"]["host"]) == names


def test_xen_has_no_snapshots_and_no_variables_to_keep(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in fleet.hosts.values():
        host.kind = "Xen"
    web(fleet, snapshots=None)
    monkeypatch.delattr(Domain, "undefineFlags")
    assert restart(fleet)["changed"]
    assert (running(fleet), defined(fleet)) == (["kvm2"], ["kvm2"])


def test_a_host_that_is_lost_at_the_first_look(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    web(fleet)

    def lost(_domain: Domain) -> bool:
        raise BROKEN

    monkeypatch.setattr(Domain, "isPersistent", lost)
    assert fails(fleet).message == "Cannot restart web-1 on kvm2: client socket is closed."
    assert fleet.log == []


def test_by_its_uuid(fleet: Fleet) -> None:
    web(fleet)
    assert restart(fleet, domain=UUID)["name"] == "web-1"


class KilledError(BaseException):
    """Nothing of the module runs on."""


class Log(list[tuple[str, str]]):
    """The commands, of which that with this number kills the run before it does anything."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.last = last

    def append(self, step: tuple[str, str]) -> None:
        if len(self) == self.last:
            raise KilledError
        super().append(step)


# Everything that a restart of a domain with autostart does, in its order.
STEPS = [
    ("kvm1", "setMetadata"),
    ("kvm2", "defineXML"),
    ("kvm1", "shutdown"),
    ("kvm1", "setAutostart"),
    ("kvm2", "create"),
    ("kvm1", "undefine"),
    ("kvm2", "setAutostart"),
    ("kvm2", "setMetadata"),
]


def tell_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs and what is defined have metadata of their own in libvirt; it is an error to set that of neither."""
    write = Domain.setMetadata

    def checked(domain: Domain, kind: int, text: str, key: str, uri: str, flags: int) -> None:
        assert domain.now is not None or not flags & Fleet.VIR_DOMAIN_AFFECT_LIVE
        write(domain, kind, text, key, uri, flags)

    monkeypatch.setattr(Domain, "setMetadata", checked)


def finish_as_the_role_does(fleet: Fleet, where: str) -> dict[str, t.Any] | None:
    """First what runs and has a note, then what is shut off and has one."""
    everywhere = [(name, domain) for name, host in fleet.hosts.items() for domain in host.domains]
    for name, domain in everywhere:
        if domain.now is not None and move_note.read(fleet, domain) is not None:
            finish_move.finish_move(fleet, uri=f"test://{name}/", domain=UUID, host=name, check_mode=False)
    if any(domain.now is None and move_note.read(fleet, domain) is not None for _name, domain in everywhere):
        return restart(fleet, finish=where)
    return None


def test_these_are_all_steps(fleet: Fleet) -> None:
    web(fleet, auto=True)
    restart(fleet)
    assert fleet.log == STEPS


@pytest.mark.parametrize("where", ["source", "destination"])
@pytest.mark.parametrize("step", range(len(STEPS)))
def test_wherever_it_is_killed_it_is_brought_to_its_end(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, step: int, where: str
) -> None:
    tell_apart(monkeypatch)
    web(fleet, auto=True)
    fleet.log = Log(step)
    with pytest.raises(KilledError):
        restart(fleet)
    before = running(fleet)
    fleet.log = []
    finish_as_the_role_does(fleet, where)
    host = before[0] if before else {"source": "kvm1", "destination": "kvm2"}[where]
    assert (running(fleet), defined(fleet)) == ([host], [host])
    (only,) = fleet.hosts[host].domains
    assert only.auto
    assert move_note.read(fleet, only) is None
    assert "shutdown" not in [command for _host, command in fleet.log]
    assert finish_as_the_role_does(fleet, where) is None


@pytest.mark.parametrize("where", ["source", "destination"])
@pytest.mark.parametrize("second", range(7))
@pytest.mark.parametrize("first", [3, 4, 5, 6])
def test_the_finishing_may_be_killed_as_well(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, first: int, second: int, where: str
) -> None:
    tell_apart(monkeypatch)
    web(fleet, auto=True)
    fleet.log = Log(first)
    with pytest.raises(KilledError):
        restart(fleet)
    fleet.log = Log(second)
    with contextlib.suppress(KilledError):
        finish_as_the_role_does(fleet, where)
    assert len(running(fleet)) < 2
    fleet.log = []
    finish_as_the_role_does(fleet, where)
    assert len(running(fleet)) == 1
    assert running(fleet) == defined(fleet)
    assert [move_note.read(fleet, domain) for host in fleet.hosts.values() for domain in host.domains] == [None]


def test_nothing_is_finished_where_nothing_was_begun(fleet: Fleet) -> None:
    web(fleet)
    result = restart(fleet, finish="destination")
    assert (result["changed"], result["reason"]) == (False, "No restart of web-1 from kvm1 to kvm2 was interrupted.")
    assert fleet.log == []


def test_check_mode_finishes_nothing(fleet: Fleet) -> None:
    web(fleet, now=None, text=note())
    assert restart(fleet, finish="destination", check_mode=True)["changed"]
    assert fleet.log == []


def test_nothing_is_finished_while_one_of_both_does_not_answer(fleet: Fleet) -> None:
    web(fleet, now=None, text=note())
    fleet.down.add("kvm2")
    fails(fleet, finish="source")
    assert (fleet.log, running(fleet)) == ([], [])


def test_nothing_is_brought_to_its_end_beside_a_copy_that_waits_or_that_runs_too(fleet: Fleet) -> None:
    domain = web(fleet, now=None, text=note())
    copy = fleet.add("kvm2", now=(3, 11))
    for options in ({"finish": "destination"}, {"finish": "source"}):
        assert "Nothing was done." in fails(fleet, **options).message
    assert restart(fleet)["reason"] == "web-1 is being started on kvm2."
    domain.now = copy.now = RUNNING
    domain.text = note()
    for options in ({"finish": "source"}, {}):
        assert "at the same time" in fails(fleet, **options).message
    assert fleet.log == []


def test_where_the_destination_cannot_take_it_any_more_it_is_started_where_it_was(fleet: Fleet) -> None:
    web(fleet, now=None, text=note(), memory=4096)
    fleet.add("kvm2", now=None, text=note())
    assert restart(fleet, finish="destination")["outcome"] == "on_source"
    assert (running(fleet), defined(fleet)) == (["kvm1"], ["kvm1"])


def test_what_cannot_be_started_where_it_was_keeps_its_note(fleet: Fleet) -> None:
    domain = web(fleet, now=None, text=note(), refuses={"create": REFUSED})
    error = fails(fleet, finish="source")
    told = "web-1 is shut off since its restart was interrupted, and could not be started on kvm1: "
    assert error.message.startswith(told)
    assert error.details["changed"] is False
    assert move_note.read(fleet, domain) is not None


def test_what_cannot_be_forgotten_there_is_told_and_keeps_its_note(fleet: Fleet) -> None:
    domain = web(fleet, now=None, text=note())
    fleet.add("kvm2", now=None, text=note(), refuses={"undefine": REFUSED})
    assert fails(fleet, finish="source").message == (
        "The restart of web-1 could not be completed: kvm2 may still have a definition of it (internal error: cannot "
        "start it here)."
    )
    assert running(fleet) == ["kvm1"]
    assert move_note.read(fleet, domain) is not None


def test_what_was_shut_down_there_after_all_was_done_stays_so(fleet: Fleet) -> None:
    copy = fleet.add("kvm2", now=None, text=note())
    restart(fleet, finish="destination")
    assert (running(fleet), move_note.read(fleet, copy)) == ([], None)


def test_the_definition_of_a_restart_that_somebody_gave_up_is_forgotten(fleet: Fleet) -> None:
    web(fleet, now=None)
    fleet.add("kvm2", now=None, text=note())
    restart(fleet, finish="destination")
    assert (running(fleet), defined(fleet)) == ([], ["kvm1"])
