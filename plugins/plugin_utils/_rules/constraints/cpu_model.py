# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""CPU model: the destination must have the architecture and the type of the domain, and its CPU.

Only what is certain is refused here: a model that the host says it cannot use, and any other CPU where the domain has
the host's own (host-passthrough). Whether a host offers what a running domain has is a question to its hypervisor
(virConnectCompareHypervisorCPU): the features of the two cannot be compared by name, because KVM adds some that no
CPU has ("hypervisor") and a model implies others. domain_migrate asks before it acts.
Emulated domains (type qemu) have a CPU made in software, which every host of that type offers.
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
    if facts.type is not None and target.domain_types is not None and facts.type not in target.domain_types:
        return Reason("cpu_model", f"{host.name} does not run domains of type {facts.type}")
    if facts.type == "qemu":
        return None
    if None not in (source.arch, target.arch) and source.arch != target.arch:
        return Reason("cpu_model", f"{host.name} is {target.arch}, {source.name} is {source.arch}")
    # A CPU with an architecture and no model (ARM) is known, libvirt only has no name for it.
    descriptions = [(one.arch, one.cpu_model, one.cpu_features) for one in (source, target)]
    same = source.arch is not None and descriptions[0] == descriptions[1]
    if facts.cpu_mode in ("host-passthrough", "maximum") or facts.type != "kvm":
        wanted = f"needs the same CPU as on {source.name}; {host.name} has {_named(target.cpu_model)}"
        return None if same else Reason("cpu_model", wanted)
    # A model without some of its features may be usable where the whole one is not.
    if same or facts.cpu_disabled or facts.cpu_model is None or target.usable_models is None:
        return None
    if facts.cpu_model in target.usable_models:
        return None
    return Reason("cpu_model", f"{host.name} does not offer the CPU model {facts.cpu_model}")


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
