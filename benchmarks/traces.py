# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A day of load, replayed through the planner: what policies are worth over time, beside the reference.

    benchmarks/traces.py [--trace FILE ...] [--scale 8] [--seeds 3] [--jobs 2] [--json]

What it is made of is in traces/; how to read the tables is in README.md.
"""

from __future__ import annotations

from traces.cli import main  # the package beside this file, which goes before this file itself

if __name__ == "__main__":
    main()
