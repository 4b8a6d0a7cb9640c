# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The emulator of the lab: how it changes what libvirt gives QEMU, shown by a program that prints what it is given."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

EMULATOR = Path(__file__).parents[3] / "roles" / "lab" / "files" / "qemu_emulating"


def given_to_qemu(directory: Path, *arguments: str) -> list[str]:
    # It runs the program of /usr/bin that has its own name.
    program = directory / "printf"
    shutil.copy(EMULATOR, program)
    return subprocess.run(
        [program, r"%s\0", *arguments], check=True, capture_output=True, text=True
    ).stdout.split("\0")[:-1]  # fmt: skip


@pytest.mark.parametrize("told", ["96", "size=98304k"])
def test_memory_is_no_multiple_of_64_pages(tmp_path: Path, told: str) -> None:
    ram = '{"qom-type":"memory-backend-ram","id":"pc.ram","size":%d,"x-use-canonical-path-for-ramblock-id":false}'
    assert given_to_qemu(tmp_path, "-m", told, "-object", ram % (96 << 20)) == [
        *("-m", "size=98312k", "-object"),
        ram % ((96 << 20) + 8192),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-S", "-no-user-config", "-machine", "none,accel=kvm:tcg"], id="a look at its capabilities"),
        pytest.param(["-object", '{"qom-type":"secret","id":"x","size":5}', "-smp", "96"], id="no memory"),
        pytest.param(["-append", "quiet lab.name=a 'b' \"c\"\n$(d)", "-name", ""], id="words"),
    ],
)
def test_all_else_is_left_as_it_is(tmp_path: Path, arguments: list[str]) -> None:
    assert given_to_qemu(tmp_path, *arguments) == arguments
