# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The lab's inventory of guests that answer, with a virsh that is played and ports on loopback addresses."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "inventories" / "lab" / "guests.sh"
HOST, GUEST, SILENT = "127.66.0.11", "127.66.0.101", "127.66.0.102"
# What virsh says of three running domains: one that answers, one that does not, one that is not of the lab's making.
VIRSH = """#!/bin/sh
case "$*" in
  *" list --name") printf 'db-1\\nweb-1\\nother\\n' ;;
  *)
    printf "<domain id='1'>\\n  <name>db-1</name>\\n  <interface>\\n      <mac address='52:54:7f:42:00:65'/>\\n"
    printf "<domain id='2'>\\n  <name>web-1</name>\\n  <interface>\\n      <mac address='52:54:7f:42:00:66'/>\\n"
    printf "<domain id='3'>\\n  <name>other</name>\\n  <interface>\\n      <mac address='52:54:00:42:00:65'/>\\n"
    ;;
esac
"""


@contextlib.contextmanager
def server(address: str, port: int, greeting: bytes) -> t.Iterator[int]:
    """Greets everybody; gives the port."""
    with socket.create_server((address, port)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _address = listening.accept()
                    with client, contextlib.suppress(OSError):
                        client.sendall(greeting)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "hosts" / "kvm1").mkdir(parents=True)
    (tmp_path / "hosts" / "kvm1" / "host.env").write_text(f"HOST_LINK=x\nHOST_CIDR={HOST}/24\n", encoding="utf-8")
    (tmp_path / "virsh").write_text(VIRSH, encoding="utf-8")
    (tmp_path / "virsh").chmod(0o755)
    return {**os.environ, "LAB_DIR": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def inventory(environment: dict[str, str], argument: str = "--list") -> t.Any:
    command = ["bash", str(SCRIPT), argument]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout)


def test_a_guest_that_answers_is_there(environment: dict[str, str]) -> None:
    with server(HOST, 16509, b""), server(GUEST, 0, b"SSH-2.0-x\r\n") as port, server(SILENT, port, b"220 smtp\r\n"):
        found = inventory({**environment, "LAB_SSH_PORT": str(port)})
    assert found == {
        "guests": {"hosts": ["db-1"]},
        "_meta": {"hostvars": {"db-1": {"ansible_host": GUEST, "lab_host": "kvm1"}}},
    }


def test_a_host_that_is_down_has_no_guests(environment: dict[str, str]) -> None:
    assert inventory(environment)["guests"] == {"hosts": []}


def test_without_a_lab_there_is_nobody(environment: dict[str, str]) -> None:
    assert inventory({**environment, "LAB_DIR": "/nowhere"}) == {"guests": {"hosts": []}, "_meta": {"hostvars": {}}}


def test_all_there_is_to_know_is_in_the_list(environment: dict[str, str]) -> None:
    assert inventory(environment, "--host") == {}
