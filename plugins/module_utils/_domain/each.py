# Copyright: the virtops.balance authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private to the collection: do the same with every domain of a host, whether it runs or not."""

from __future__ import annotations

import typing as t

from ansible_collections.virtops.balance.plugins.module_utils import _errors
from ansible_collections.virtops.balance.plugins.module_utils._connection import Connection
from ansible_collections.virtops.balance.plugins.module_utils._errors import BalanceError

Result = dict[str, t.Any]


def each(connection: Connection, act: t.Callable[[t.Any], Result], *, doing: str) -> Result:
    """Return {changed, domains, diff} from the results of RV(act), those that changed nothing left out.

    All domains get their turn. Raises BalanceError in the end where some failed, libvirtError where the connection is
    lost.
    """
    changed: list[Result] = []
    problems = []
    for domain in sorted(connection.handle.listAllDomains(0), key=lambda found: (found.name(), found.UUIDString())):
        try:
            result = act(domain)
        except BalanceError as error:
            problems.append(error.message)
        except connection.api.libvirtError as error:
            if _errors.is_connection_lost(error):
                raise
            if _errors.code_of(error) != _errors.NO_DOMAIN:
                problems.append(_errors.translate(connection.api, error, doing=f"{doing} {domain.name()}").message)
        else:
            if result["changed"]:
                changed.append(result)
    if problems:
        raise BalanceError(" ".join(problems))
    return {
        "changed": bool(changed),
        "domains": [{key: found[key] for key in ("uuid", "name", "live", "definition")} for found in changed],
        "diff": {
            side: {f"{found['name']} ({found['uuid']})": found["diff"][side] for found in changed}
            for side in ("before", "after")
        },
    }
