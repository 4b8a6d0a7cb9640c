# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""How Sphinx makes the site of the collection, see .ci/docs. Neither making nor reading it needs the network."""

from __future__ import annotations

import re
import tempfile
import typing as t
import zlib
from pathlib import Path

if t.TYPE_CHECKING:
    from sphinx.application import Sphinx

ANSIBLE = "https://docs.ansible.com/projects/ansible/latest/"
# What pages of plugins refer to in Ansible's own documentation: label, page there. Sphinx would download an
# inventory of all labels to know that.
LABELS = {
    "action_plugins": "plugins/action.html",
    "ansible_collections.ansible.builtin.template_lookup": "collections/ansible/builtin/template_lookup.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "common_return_values": "reference_appendices/common_return_values.html",
}


def ansible_inventory() -> str:
    """Write an inventory of these labels, in the form that Sphinx reads; return its path."""
    head = (
        "# Sphinx inventory version 2\n# Project: Ansible\n# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    lines = "".join(f"{label} std:label -1 {page} {label}\n" for label, page in LABELS.items())
    file = Path(tempfile.mkdtemp()) / "objects.inv"
    file.write_bytes(head.encode() + zlib.compress(lines.encode()))
    return str(file)


project = "virtops.balance"
author = "the virtops.balance authors"
html_title = "virtops.balance"

extensions = ["sphinx.ext.intersphinx", "sphinx_antsibull_ext"]
intersphinx_mapping = {"ansible": (ANSIBLE, ansible_inventory())}

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
    """Take out of the pages of antsibull-docs what the theme or the front page has already: the list of contents of each
    page, and on the collection's page the lists of our own pages."""
    source[0] = re.sub(r"^\.\. contents::\n(   :\w+:.*\n)*", "", source[0], flags=re.MULTILINE)
    if page == "collections/virtops/balance/index":
        source[0] = re.sub(
            r"^\w.*\n-+\n\n\.\. toctree::\n    :maxdepth: 1\n\n(    docsite/\w+\n)+\n", "", source[0], flags=re.MULTILINE
        )


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", tidy)
