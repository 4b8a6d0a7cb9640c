# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""This collection's engine against its peers on the same random fleets.

    benchmarks/planner.py --sizes 10x100,40x400 --peers hbal,proxlb,optimal [--seed N] [--json]

What it is made of is in planner/; how to read the table is in README.md.
"""

from __future__ import annotations

from planner.cli import main  # the package beside this file, which goes before this file itself

if __name__ == "__main__":
    main()
