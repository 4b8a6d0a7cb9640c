# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Hosts of several Debian releases in one fleet: what moves between them, and what is refused before it is tried."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.virtops.balance.tests.lab.lab import RELEASES, Lab

# As hosts of each release name their newest machine type of this kind.
NEWEST = {"bookworm": "pc-q35-7.2", "trixie": "pc-q35-10.0"}
HERE, NEWER = "kvm1", "kvm3"
NAME = "modern"


def move(lab: Lab, guest: str, source: str, destination: str, **options: t.Any) -> dict[str, t.Any]:
    done: dict[str, t.Any] = lab.module(
        source,
        "domain_migrate",
        domain=guest,
        destination=destination,
        destination_uri=lab.uri(destination),
        shared_paths=["/var/lib/virtops-lab/images"],
        **options,
    )
    return done


def machine(lab: Lab, host: str, guest: str) -> str:
    xml = lab.virsh(host, "dumpxml", guest)
    return xml.partition(" machine='")[2].partition("'")[0]


def hosts_of(lab: Lab, guest: str) -> list[str]:
    return lab.placement()[guest]


def release(lab: Lab, host: str) -> str:
    return lab.shell(host, ". /etc/os-release; echo $VERSION_CODENAME")


@pytest.fixture
def modern(lab: Lab) -> t.Iterator[Lab]:
    """A guest more that was made on the newer host, with its newest machine type."""
    with lab.more_guests({"name": NAME, "host": NEWER, "address": "10.66.0.124"}):
        assert machine(lab, NEWER, NAME) == NEWEST["trixie"]
        yield lab


def test_the_observation_of_a_newer_host_lacks_nothing(lab: Lab) -> None:
    older, newer = (lab.module(host, "host_info", interval=1)["observation"]["host"] for host in (HERE, NEWER))

    assert newer["libvirt_version"].startswith("11.3.")
    assert newer["hypervisor"]["version"].startswith("10.0.")
    assert list(unknown(newer)) == list(unknown(older))
    assert NEWEST["trixie"] in newer["machine_types"]["x86_64"]
    assert NEWEST["trixie"] not in older["machine_types"]["x86_64"]


def unknown(facts: t.Mapping[str, t.Any], path: str = "") -> t.Iterator[str]:
    """Where facts are null."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from unknown(value, f"{path}{name}.")
        elif value is None:
            yield path + name


def test_a_domain_of_the_older_host_goes_to_the_newer_one_and_back(lab: Lab) -> None:
    before = lab.status("web-1")

    for source, destination in ((HERE, NEWER), (NEWER, HERE)):
        done = move(lab, "web-1", source, destination)

        assert done["outcome"] == "on_destination"
        assert hosts_of(lab, "web-1") == [destination]
        assert machine(lab, destination, "web-1") == NEWEST["bookworm"]

    assert lab.status("web-1")["boot_id"] == before["boot_id"]


def test_a_domain_that_was_made_on_the_newer_host_for_the_older_one(lab: Lab) -> None:
    portable = {"name": NAME, "host": NEWER, "address": "10.66.0.124", "machine": NEWEST["bookworm"]}
    with lab.more_guests(portable):
        before = lab.status(NAME)

        assert move(lab, NAME, NEWER, HERE)["outcome"] == "on_destination"

        assert hosts_of(lab, NAME) == [HERE]
        assert lab.status(NAME)["boot_id"] == before["boot_id"]


def test_a_machine_type_that_the_older_host_lacks_is_known_before_the_move(modern: Lab) -> None:
    done = move(modern, NAME, NEWER, HERE, fails=True)
    assert done["msg"].startswith(
        f"{NAME} cannot be moved from {NEWER} to {HERE}: {HERE} does not offer machine type {NEWEST['trixie']}, domain"
    )

    modern.playbook("drain", "--check", drain_hosts=NEWER)
    (refused,) = modern.saved("plan.json")["refused"]
    assert refused["name"] == NAME
    for host in (HERE, "kvm2"):
        said = f"{host} does not have the machine type {NEWEST['trixie']} for x86_64"
        assert {"constraint": "machine_type", "message": said} in refused["reasons"][host]

    assert hosts_of(modern, NAME) == [NEWER]
    assert modern.virsh(NEWER, "domstate", NAME) == "running"


def test_a_newer_host_that_crashes_is_the_same_when_it_is_up_again(lab: Lab) -> None:
    assert [release(lab, host) for host in (HERE, NEWER)] == list(NEWEST)
    lab.shell(NEWER, "echo kept >/etc/note")
    lab.fault(NEWER, "crash")

    lab.playbook("lab_up", "--limit", NEWER)

    assert release(lab, NEWER) == RELEASES[NEWER]
    assert lab.shell(NEWER, "cat /etc/note; rm /etc/note") == "kept"
    # Nor has it taken anything from the others.
    for host in lab.hosts:
        assert lab.shell(host, "hostname") == host


@pytest.fixture
def newest(lab: Lab) -> t.Iterator[Lab]:
    """kvm2 has the release after that of kvm3."""
    lab.playbook("lab_up", "--limit", "kvm2", lab_releases={**RELEASES, "kvm2": "forky"})
    assert release(lab, "kvm2") == "forky"
    try:
        yield lab
    finally:
        lab.gather()
        lab.playbook("lab_up", "--limit", "kvm2")


@pytest.mark.long
def test_a_move_that_the_newest_release_refuses_while_it_loads_leaves_the_domain(newest: Lab, modern: Lab) -> None:
    for source in (HERE, NEWER):
        if source == NEWER:
            move(newest, "web-1", HERE, NEWER)
        assert move(newest, "web-1", source, "kvm2")["outcome"] == "on_destination"
        assert hosts_of(newest, "web-1") == ["kvm2"]
        assert move(newest, "web-1", "kvm2", HERE)["outcome"] == "on_destination"
    before = modern.status(NAME)

    done = move(modern, NAME, NEWER, "kvm2", fails=True)

    assert done["outcome"] == "on_source"
    assert re.fullmatch(
        rf"{NAME} was not moved from {NEWER}.* to kvm2.*: .*Failed to load element.*\. {NAME} is running on {NEWER}\.",
        done["msg"],
    )
    assert hosts_of(modern, NAME) == [NEWER]
    assert modern.virsh(NEWER, "domstate", NAME) == "running"
    assert modern.status(NAME)["boot_id"] == before["boot_id"]
