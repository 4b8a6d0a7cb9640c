# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""CPU model: the destination must offer the CPU model and features that the domain has.

libvirt refuses a migration if the destination lacks them; unknown CPUs are refused here. Emulated domains (type qemu)
have a CPU made in software, which every host of that type offers.
"""

from __future__ import annotations

from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.fleet import Fleet
from ansible_collections.virtops.balance.plugins.plugin_utils._fleet.projected import ProjectedDomain, ProjectedHost
from ansible_collections.virtops.balance.plugins.plugin_utils._reason import Reason
from ansible_collections.virtops.balance.plugins.plugin_utils._rules.registry import constraint
from ansible_collections.virtops.balance.plugins.plugin_utils._snapshot.model import Domain


@constraint("cpu_model", scope="pair")
def cpu_model(domain: ProjectedDomain, host: ProjectedHost, fleet: Fleet) -> Reason | None:
    """The host has the architecture and type of the domain and, for hardware virtualization, a suitable CPU."""
    facts, source, target = domain.facts, domain.home.facts, host.facts
    if domain.new:
        return _of_a_new_domain(facts, host)
    if facts.type is None or target.domain_types is None:
        return Reason("cpu_model", f"cannot tell whether {host.name} runs domains of type {facts.type or 'unknown'}")
    if facts.type not in target.domain_types:
        return Reason("cpu_model", f"{host.name} does not run domains of type {facts.type}")
    if facts.type == "qemu":
        return None
    if source.arch is None or target.arch is None:
        return Reason("cpu_model", f"cannot tell whether {host.name} has the architecture of {source.name}")
    if source.arch != target.arch:
        return Reason("cpu_model", f"{host.name} is {target.arch}, {source.name} is {source.arch}")
    same = None not in (source.cpu_model, source.cpu_features) and source.cpu_model == target.cpu_model
    if facts.cpu_mode in ("host-passthrough", "maximum") or facts.type != "kvm":
        if same and source.cpu_features == target.cpu_features:
            return None
        return Reason(
            "cpu_model",
            f"needs the same CPU as on {source.name}; {host.name} has {_named(target.cpu_model)}",
        )
    if same and target.cpu_features is not None and (source.cpu_features or frozenset()) <= target.cpu_features:
        return None
    if facts.cpu_model is None or target.usable_models is None:
        return Reason("cpu_model", f"cannot tell whether {host.name} offers the CPU model {_named(facts.cpu_model)}")
    if facts.cpu_model not in target.usable_models:
        return Reason("cpu_model", f"{host.name} does not offer the CPU model {facts.cpu_model}")
    if facts.cpu_features is None or target.cpu_features is None:
        return Reason("cpu_model", f"cannot tell whether {host.name} offers the CPU features that it needs")
    missing = sorted(facts.cpu_features - target.cpu_features)
    if missing:
        return Reason("cpu_model", f"cannot tell whether {host.name} offers the CPU features {', '.join(missing)}")
    return None


def _of_a_new_domain(facts: Domain, host: ProjectedHost) -> Reason | None:
    """The host offers the type, architecture and CPU model of a new domain, as far as these are given."""
    target = host.facts
    for wanted, offered, what in (
        (facts.type, target.domain_types, "domains of type"),
        (facts.arch, None if target.arch is None else {target.arch}, "the architecture"),
        (facts.cpu_model, target.usable_models, "the CPU model"),
    ):
        if wanted is None:
            continue
        if offered is None:
            return Reason("cpu_model", f"cannot tell whether {host.name} has {what} {wanted}")
        if wanted not in offered:
            return Reason("cpu_model", f"{host.name} does not have {what} {wanted}")
    return None


def _named(model: str | None) -> str:
    return model or "unknown"
