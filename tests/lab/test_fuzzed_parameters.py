# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Nonsense for every option of every module, on a host with real guests: a clear answer, and no change."""

from __future__ import annotations

import html
import json
import shlex
import sysconfig
import typing as t
from pathlib import Path

import pytest

from ansible_collections.virtops.balance.tests.documented import options
from ansible_collections.virtops.balance.tests.lab.lab import ROOT, Lab

HOST = "kvm1"
GUEST = "web-1"
# They run in check mode, because what they are asked for is a change.
CHECKED = {"domain_migrate", "domain_restart", "domain_tag", "host_mark", "host_path_test"}


def sane(lab: Lab) -> dict[str, dict[str, t.Any]]:
    """Arguments with which each module changes no guest."""
    return {
        "domain_cputune": {"domain": GUEST, "weight": 1, "cap": 0},
        "domain_finish_move": {"domain": GUEST, "host": HOST},
        "domain_memory": {"domain": GUEST, "memory_mib": 96},
        "domain_migrate": {
            "domain": GUEST,
            "source": HOST,
            "destination": "kvm2",
            "destination_uri": lab.uri("kvm2"),
            "shared_paths": ["/var/lib/virtops-lab/images"],
        },
        "domain_migrate_info": {
            "questions": [{"domain": GUEST, "destination": "kvm2"}],
            "destinations": [{"name": "kvm2", "uri": lab.uri("kvm2")}],
            "source": HOST,
            "shared_paths": ["/var/lib/virtops-lab/images"],
        },
        "domain_restart": {
            "domain": GUEST,
            "source": HOST,
            "destination": "kvm2",
            "destination_uri": lab.uri("kvm2"),
            "shared_paths": ["/var/lib/virtops-lab/images"],
        },
        "domain_state": {"domain": GUEST, "assigned": True, "state": "run"},
        "domain_tag": {"domain": GUEST, "tags": ["fuzzed"]},
        "domain_vcpu_pin": {"domain": GUEST, "cpus": "all"},
        "guest_measure": {
            "guests": [{"name": GUEST, "address": lab.guests[GUEST]["address"], "port": 80}],
            "path": "/tmp/measures.csv",
            "timeout": 1,
            "requests": 1,
        },
        "host_doctor_info": {"migration_uri": lab.uri(HOST)},
        "host_info": {"interval": 0.1},
        "host_lease": {"state": "absent", "owner": "nobody"},
        "host_mark": {},
        "host_memory_balance": {"interval": 0.1, "domains": [GUEST]},
        "host_path_test": {"name": HOST, "run": "1", "paths": ["/var/lib/virtops-lab/images"]},
        "host_peers_info": {
            "name": HOST,
            "questions": {
                "run": "1",
                "peers": {HOST: {"uri": lab.uri(HOST), "host": HOST, "ports": []}},
                "paths": ["/var/lib/virtops-lab/images"],
                "baselines": [],
            },
        },
        "host_power": {
            "state": "awake",
            "control": {"wake": "command", "sleep": "command", "command": {"wake": ["true"], "sleep": ["true"]}},
            "timeout_seconds": 1,
        },
        "host_vcpu_balance": {"interval": 0.1, "domains": [GUEST]},
        "prometheus_history_info": {"url": "http://127.0.0.1:1", "hosts": {HOST: [HOST]}, "timeout": 1},
    }


def world(lab: Lab) -> dict[str, tuple[str, str]]:
    """Everything that libvirt knows of every guest of the host, but for the memory that its balloon reports."""
    names = lab.virsh(HOST, "list", "--all", "--name").split()
    return {name: (lab.virsh(HOST, "dumpxml", name), lab.virsh(HOST, "dumpxml", "--inactive", name)) for name in names}


@pytest.mark.skipif(
    Path("/tmp") in ROOT.parents, reason="the hosts of the lab have a /tmp of their own: clone elsewhere"
)
def test_nonsense_gets_a_clear_answer_and_changes_nothing(lab: Lab) -> None:
    arguments = {module: {**options, "_ansible_check_mode": module in CHECKED} for module, options in sane(lab).items()}
    # The others document an action plugin, and never run.
    files = (ROOT / "plugins" / "modules").glob("*.py")
    assert arguments.keys() == {path.stem for path in files if "\ndef main()" in path.read_text(encoding="utf-8")}
    before = world(lab)
    documented = {
        module: {
            name: {key: option[key] for key in ("type", "choices") if key in option}
            for name, option in options()[module].items()
        }
        for module in arguments
    }

    paths = [ROOT / ".cache" / "collections", Path(sysconfig.get_path("purelib"))]
    # Two directories deep, for names that go up.
    printed = lab.shell(
        HOST,
        f"mkdir -p /tmp/fuzz/here && cd /tmp/fuzz/here && PYTHONPATH={':'.join(map(str, paths))} /usr/bin/python3"
        f" {ROOT}/tests/lab/fuzz_modules.py"
        f" {shlex.quote(json.dumps(arguments))} {shlex.quote(json.dumps(documented))}",
        seconds=600,
    )
    unclear = [case for case in json.loads(printed) if not is_clear(*case)]
    assert unclear == []
    assert world(lab) == before
    assert lab.shell(HOST, "find /tmp /root / -maxdepth 4 -name pwned") == ""


def is_clear(module: str, _option: str, _value: t.Any, result: dict[str, t.Any]) -> bool:
    """Whether a module failed with one clear line, or did what it does without a change."""
    if result.get("failed"):
        return "\n" not in result["msg"].strip() and "Traceback" not in str(result)
    # A file of figures is what this one is for.
    return "raised" not in result and (not result.get("changed") or module in CHECKED or module == "guest_measure")


def test_the_name_of_a_guest_is_no_more_than_a_name(lab: Lab) -> None:
    name = 'we;rd $(touch pwned) `touch pwned` --help {{ 7 * 7 }} "q" ünï ☃'
    path = lab.run_dir / "weird.xml"
    path.write_text(
        f"<domain type='qemu'><name>{html.escape(name)}</name><memory unit='MiB'>32</memory>"
        "<os><type arch='x86_64' machine='q35'>hvm</type></os><devices><memballoon model='none'/></devices></domain>"
    )
    lab.virsh(HOST, "create", "--paused", str(path))
    try:
        found = lab.module(HOST, "host_info", interval=0.1)["observation"]["domains"]
        assert name in [domain["name"] for domain in found]
        # Arguments of a task are templates, unlike what a host tells.
        given = name.replace("{{ 7 * 7 }}", "{{ '{{ 7 * 7 }}' }}")
        options: dict[str, t.Any] = {"domain": given, "cap": 20, "persistent": False}
        assert [lab.module(HOST, "domain_cputune", **options)["changed"] for _time in range(2)] == [True, False]
        lab.module(HOST, "domain_vcpu_pin", domain=given, cpus="0")
        assert name in lab.playbook("rebalance", "--check", "--diff")
        assert lab.shell(HOST, "find /tmp /root / -maxdepth 4 -name pwned") == ""
    finally:
        lab.virsh(HOST, "destroy", name)
