# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Programs of Ansible as somebody starts them in a shell, from any environment that has one."""

from __future__ import annotations

import os
import subprocess
import sys
import types
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# As the checkout has it, and with the collection of the checkout.
CONFIGURED = types.MappingProxyType({"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")})
# With Ansible's own settings, as in an installation, and with the collection of the checkout.
INSTALLED = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections")}


def start_ansible(
    program: str,
    *arguments: str | Path,
    cwd: Path = ROOT,
    python: Path = Path(sys.executable),
    environment: t.Mapping[str, str] = CONFIGURED,
    together: bool = False,
    seconds: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a program of the Ansible that ``python`` has to its end.

    What ``environment`` has is added to that of the tests; ``together``: errors are printed where everything else is.
    """
    return subprocess.run(
        [python.with_name(program), *arguments],
        cwd=cwd,
        # Programs that look for the working directory there find the right one.
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8", "PWD": str(cwd), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.PIPE,
        text=True,
        timeout=seconds,
        check=False,
    )


def run_ansible(program: str, *arguments: str | Path, fails: bool | None = False, **how: t.Any) -> str:
    """Run it as start_ansible() does and return all that it printed.

    ``fails`` says which end is expected, None where both are.
    """
    done = start_ansible(program, *arguments, together=True, **how)
    assert fails is None or (done.returncode != 0) == fails, done.stdout
    return done.stdout
