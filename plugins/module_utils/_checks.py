# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: check that numbers from options make sense. The argument spec lets NaN through."""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError


def check_number(name: str, value: float, low: float, high: float) -> None:
    """Raise BalanceError where an option is not from RV(low) to RV(high). NaN is nowhere."""
    if not low <= value <= high:
        raise BalanceError(f"{name} must be a number from {low:,.12g} to {high:,.12g}, but it is {value:,.12g}.")
