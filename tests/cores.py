# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""The versions of ansible-core that the collection works with, each in an environment of its own."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path

from ansible_collections.virtops.balance.tests import tools

# The Pythons that a control node may have, as far as the collection works with them: "ansible-core support matrix" in
# https://docs.ansible.com/ansible-core/devel/reference_appendices/release_and_maintenance.html
PYTHONS = {
    "2.17": range(11, 13),
    "2.18": range(11, 14),
    "2.19": range(11, 14),
    "2.20": range(12, 15),
    "2.21": range(12, 15),
}
# These can be had everywhere; those that are newer where this machine has a Python for them.
ALWAYS = ("2.17", "2.18", "2.19")


@functools.cache
def python_for(version: str) -> str | None:
    """The Python of this machine to run that version with; None = there is none.

    The oldest version gets the Python of the tests, if it can have it, and all others the newest they can have.
    """
    minors = PYTHONS[version]
    own = sys.version_info.minor if sys.version_info.major == 3 and sys.version_info.minor in minors else None
    if own is not None and version == ALWAYS[0]:
        return sys.executable
    for minor in reversed(minors):
        if minor == own:
            return sys.executable
        found = map(str, Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        for place in filter(None, [shutil.which(f"python3.{minor}"), *sorted(found)]):
            # What is on PATH may be a shim that only says that there is none.
            ask = [place, "-c", f"import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, {minor}))"]
            if subprocess.run(ask, stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return place
    return None


def versions() -> list[str]:
    """What is to be tested, oldest first."""
    return [version for version in PYTHONS if version in ALWAYS or python_for(version)]


def environment(version: str) -> Path:
    """The Python of an environment with this version; it is made where it is missing or has become old."""
    base = python_for(version)
    wanted = [f"ansible-core=={version}.*", "jmespath~=1.0"]
    minors = PYTHONS[version]
    assert base, (
        f"ansible-core {version} needs Python 3.{minors[0]} to 3.{minors[-1]}, and this machine has none of them."
    )
    place = tools.CACHE / "cores" / version
    place.parent.mkdir(parents=True, exist_ok=True)
    with tools.made_from(place, "\n".join([base, *wanted])) as missing:
        if missing:
            subprocess.run([base, "-m", "venv", "--clear", place], check=True)
            subprocess.run([place / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted], check=True)
    return place / "bin" / "python"
