# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How Sphinx makes the site of the collection, see .ci/docs. Neither making nor reading it needs the network."""

from __future__ import annotations

import re
import typing as t

from docutils import nodes

if t.TYPE_CHECKING:
    from sphinx.application import Sphinx

ANSIBLE = "https://docs.ansible.com/projects/ansible/latest/"
LABELS = {
    "action_plugins": "plugins/action.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "callback_plugins": "plugins/callback.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}
"""What pages of plugins refer to in Ansible's own documentation: label, page there."""
BUILTIN = "ansible_collections.ansible.builtin."

project = "virtops.balance"
author = "the virtops.balance authors"
html_title = "virtops.balance"

extensions = ["sphinx_antsibull_ext"]

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_use_index = False

# Code of which a block does not say what it is: YAML with Jinja, as in the pages of plugins.
highlight_language = "YAML+Jinja"
default_role = "any"
smartquotes = False
# Every reference has to lead somewhere.
nitpicky = True


def tidy(_app: Sphinx, page: str, source: list[str]) -> None:
    """Take out of the pages of antsibull-docs what is elsewhere on the site already.

    The theme shows the contents of each page, and the front page lists the pages of docs/docsite.
    """
    source[0] = re.sub(r"^\.\. contents::\n(   :\w+:.*\n)*", "", source[0], flags=re.MULTILINE)
    if page == "collections/virtops/balance/index":
        section = r"^\w.*\n-+\n\n\.\. toctree::\n    :maxdepth: 1\n\n(    docsite/\w+\n)+\n"
        source[0] = re.sub(section, "", source[0], flags=re.MULTILINE)


def link_to_ansible(_app: Sphinx, _env: t.Any, node: t.Any, content: nodes.Node) -> nodes.reference | None:
    """Lead what is not on this site to Ansible's. Intersphinx would have to download a list of all that is there."""
    target = str(node["reftarget"])
    if node["reftype"] == "envvar" and target.startswith("ANSIBLE_"):
        page = f"reference_appendices/config.html#envvar-{target}"
    elif target.startswith(BUILTIN):
        page = f"collections/ansible/builtin/{target.removeprefix(BUILTIN)}.html"
    elif target in LABELS:
        page = LABELS[target]
    else:
        return None
    return nodes.reference("", "", content, internal=False, refuri=f"{ANSIBLE}{page}")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", tidy)
    app.connect("missing-reference", link_to_ansible)
