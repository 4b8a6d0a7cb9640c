# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""Stands in for the API of AWX: keeps what it is sent, and answers as much as the modules of awx.awx ask for."""

from __future__ import annotations

import http.server
import json
import re
import threading
import typing as t
import urllib.parse

Json = dict[str, t.Any]
TYPES = {"inventories": "inventory"}


class Stand:
    """All objects, by kind and number, and every request that changed one."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[int, Json]] = {}
        self.related: dict[str, list[int]] = {}
        self.surveys: dict[str, Json] = {}
        self.changes: list[tuple[str, str, Json]] = []
        self.tokens: set[str | None] = set()
        self.add("organizations", {"name": "Default"})

    def add(self, kind: str, fields: Json) -> Json:
        """Keep a new object and return it as the API shows it."""
        kept = self.objects.setdefault(kind, {})
        number = sum(map(len, self.objects.values())) + 1
        url = f"/api/v2/{kind}/{number}/"
        kept[number] = {
            **fields,
            "id": number,
            "type": TYPES.get(kind, kind.removesuffix("s")),
            "url": url,
            "related": {"survey_spec": f"{url}survey_spec/"},
            "summary_fields": {},
            "scm_revision": "0" if kind == "projects" else None,
        }
        return kept[number]

    def named(self, kind: str) -> dict[str, Json]:
        """The objects of a kind by their names."""
        return {entry.get("name") or entry["identifier"]: entry for entry in self.objects.get(kind, {}).values()}

    def listed(self, kind: str, query: dict[str, str]) -> list[Json]:
        """The objects of a kind whose fields are as the query has them."""
        if kind == "unified_job_templates":
            kinds = ("job_templates", "workflow_job_templates", "workflow_approval_templates")
            return [entry for one in kinds for entry in self.listed(one, query)]
        return [
            entry
            for entry in self.objects.get(kind, {}).values()
            if all(str(entry.get(key)) == value for key, value in query.items() if key != "page_size")
        ]

    def answer(self, method: str, path: str, query: dict[str, str], body: Json) -> tuple[int, t.Any]:
        """Status and content."""
        if method != "GET":
            self.changes.append((method, path, body))
        known = re.fullmatch(r"/api/v2/(\w+)/(?:(\d+)/)?(?:(\w+)/)?", path)
        if known is None:
            return 404, {"detail": "Not found."}
        kind, number, sub = known.groups()
        if not number:
            if method == "POST":
                return 201, self.add(kind, body)
            found = self.listed(kind, query)
            return 200, {"count": len(found), "next": None, "results": found}
        entry = self.objects[kind][int(number)]
        if sub == "survey_spec":
            if method == "POST":
                self.surveys[path] = body
            return 200, self.surveys.get(path, {})
        if sub == "create_approval_template":
            approval = self.add("workflow_approval_templates", {**body, "type": "workflow_approval"})
            entry["unified_job_template"] = approval["id"]
            entry["related"]["unified_job_template"] = approval["url"]
            return 201, approval
        if sub:
            numbers = self.related.setdefault(path, [])
            if method == "POST":
                (numbers.remove if body.get("disassociate") else numbers.append)(body["id"])
                return 204, None
            return 200, {"count": len(numbers), "next": None, "results": [{"id": one} for one in numbers]}
        if method == "PATCH":
            entry.update(body)
        return 200, entry


class Server(http.server.ThreadingHTTPServer):
    """The stand-in on a port of its own."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stand = Stand()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def _do(self) -> None:
        stand = self.server.stand
        stand.tokens.add(self.headers.get("Authorization"))
        url = urllib.parse.urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content = stand.answer(
            self.command, url.path, dict(urllib.parse.parse_qsl(url.query)), json.loads(text) if text else {}
        )
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if content is not None:
            self.wfile.write(json.dumps(content).encode())

    do_GET = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815  (the names that the server looks for)

    def log_message(self, format: str, *args: t.Any) -> None:
        """Say nothing."""
