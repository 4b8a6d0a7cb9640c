# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: the virtops.balance authors
"""A report as a person's browser shows it: headless Chromium opens the page, and a script reads it back."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import http.server
import json
import re
import shutil
import subprocess
import threading
import typing as t
from pathlib import Path

# Waits for the figures and writes what is drawn into the page, which is then printed. Boxes are in pixels of the page.
_SCRIPT = """
<script>
addEventListener("load", () => setTimeout(() => {
  const box = (node) => {
    const {left, top, right, bottom} = node.getBoundingClientRect();
    return [left + scrollX, top + scrollY, right + scrollX, bottom + scrollY].map((at) => Math.round(at * 10) / 10);
  };
  const texts = (node, selector) => [...node.querySelectorAll(selector)].filter((one) => one.textContent.trim())
    .map((one) => ({text: one.textContent.trim(), box: box(one)}));
  const figures = {};
  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    figures[plot.id] = {
      box: box(plot),
      x_title: texts(plot, ".xtitle"), y_title: texts(plot, ".ytitle"),
      ticks: texts(plot, ".xtick text, .ytick text"),
      legend_title: texts(plot, ".legendtitletext"), legend: texts(plot, ".legendtext"),
      labels: texts(plot, ".textpoint text"),
      lines: plot.data.map((line) => ({name: line.name, x: [...line.x], y: [...line.y]})),
      points: [...plot.querySelectorAll(".scatterlayer .trace")].map((one) => one.querySelectorAll(".point").length),
    };
  }
  const found = {
    title: document.title, heading: document.querySelector("h1").textContent,
    width: document.documentElement.clientWidth, scroll_width: document.documentElement.scrollWidth,
    text: document.body.innerText,
    tables: [...document.querySelectorAll("table")].map((table) => ({id: table.id, box: box(table),
      rows: [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent))})),
    requests: performance.getEntriesByType("resource").map((one) => one.name),
    errors: window.pageErrors, figures: figures,
  };
  const node = document.createElement("pre");
  node.id = "read-back";
  node.textContent = JSON.stringify(found);
  document.body.replaceChildren(node);
}, 1000));
</script>
"""
_ERRORS = (
    '<script>window.pageErrors = []; addEventListener("error", (event) => pageErrors.push(event.message));</script>'
)
_PROGRAMS = ("chromium-headless-shell", "chromium")

# Opens a page of a site in a frame, notes what it shows, and goes on with the pages that it links to. Paths are
# relative to the directory of the site; "menu" are the links outside of the page's own text.
_VISITOR = """<!DOCTYPE html><html><head><meta charset="utf-8"></head><body>
<iframe width="1280" height="900"></iframe>
<script>
const root = new URL("./", location.href).href, frame = document.querySelector("iframe");
const found = {}, waiting = [START];
const local = (href) => href.startsWith(root) ? href.slice(root.length) : null;
const links = (nodes) => [...nodes].map((node) => local(node.href)).filter((link) => link !== null);
const load = (path) => new Promise((done) => { frame.onload = done; frame.src = root + path; });
const read = async (path) => {
  const exists = await fetch(root + path, {method: "HEAD"});
  const about = {missing: !exists.ok, page: exists.ok && path.endsWith(".html"), links: [], anchors: []};
  if (!about.page) return about;
  await load(path);
  const page = frame.contentDocument, window = frame.contentWindow;
  const main = page.querySelector("article") || page.body, heading = page.querySelector("h1");
  const prose = main.cloneNode(true);
  prose.querySelectorAll("pre, code").forEach((node) => node.remove());
  return {
    ...about, text: main.innerText.trim(), prose: prose.textContent, heading: heading && heading.textContent,
    links: links(page.querySelectorAll("a[href]")), menu: links(page.querySelectorAll("aside a[href]")),
    anchors: [...page.querySelectorAll("[id]")].map((node) => node.id),
    broken_images: [...page.images].filter((image) => !image.complete || !image.naturalWidth).map((image) => image.src),
    foreign: window.performance.getEntriesByType("resource").map((one) => one.name)
      .filter((name) => local(name) === null),
    errors: [...page.querySelectorAll(".system-message, .problematic")].map((node) => node.textContent),
  };
};
const print = (what) => {
  const node = document.createElement("pre");
  node.id = "read-back";
  node.textContent = JSON.stringify(what);
  document.body.replaceChildren(node);
};
(async () => {
  while (waiting.length) {
    const path = waiting.shift();
    if (path in found) continue;
    found[path] = await read(path);
    for (const link of found[path].links) waiting.push(link.split("#")[0].split("?")[0]);
  }
  print(found);
})().catch((error) => print(`${error}`));
</script></body></html>
"""

Json = dict[str, t.Any]


def _chromium(directory: Path, *arguments: str, milliseconds: int = 20_000, timeout: float = 120) -> str:
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    assert program, "Chromium is not installed, see requirements/debian-tests.txt"
    done = subprocess.run(
        [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
            f"--user-data-dir={directory / 'chromium'}", f"--virtual-time-budget={milliseconds}", *arguments,
        ],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_back(page: Path, directory: Path, *, width: int = 1280, height: int = 900) -> Json:
    """What a browser with a window of this size shows of a page; ``directory`` is for its files."""
    text = page.read_text(encoding="utf-8")
    copy = directory / f"{page.stem}.read-back.html"
    copy.write_text(text.replace("<head>", f"<head>{_ERRORS}", 1).replace("</body>", f"{_SCRIPT}</body>"), "utf-8")
    printed = _chromium(directory, f"--window-size={width},{height}", "--dump-dom", copy.as_uri())
    match = re.search(r'<pre id="read-back">(.*?)</pre>', printed, re.DOTALL)
    assert match, printed[-2000:]
    found: Json = json.loads(html.unescape(match.group(1)))
    return found


def visit(site: Path, start: str, directory: Path) -> dict[str, Json]:
    """What a browser shows of a page of a site and of every page of it that its links lead to, by path.

    The site is served from 127.0.0.1 meanwhile, because a page of a file may not look into another one.
    """
    visitor = _VISITOR.replace("START", json.dumps(start))
    with serve(site, {"/visitor.html": visitor}) as address:
        printed = _chromium(directory, "--dump-dom", f"{address}/visitor.html", milliseconds=600_000, timeout=300)
    match = re.search(r'<pre id="read-back">(.*?)</pre>', printed, re.DOTALL)
    assert match, printed[-2000:]
    found: dict[str, Json] | str = json.loads(html.unescape(match.group(1)))
    assert isinstance(found, dict), found
    return found


@contextlib.contextmanager
def serve(site: Path, more: t.Mapping[str, str]) -> t.Iterator[str]:
    """Serve a directory, and pages beside it by path, at a port of 127.0.0.1 that is free; gives the address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: t.Any) -> None:
            super().__init__(*arguments, directory=str(site))

        def do_GET(self) -> None:
            page = more.get(self.path)
            if page is None:
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *arguments: t.Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a figure should show: titles of the axes, what the legend is called, and its lines by name."""

    x_title: str
    y_title: str
    legend: str
    lines: t.Sequence[str]


def assert_good(found: Json, figures: t.Mapping[str, Expected]) -> None:
    """See that a page shows these figures, whole: nothing is cut off, lies outside or on something else."""
    assert found["errors"] == []
    assert found["requests"] == [], "the page needs something beside itself"
    assert found["scroll_width"] <= found["width"], "the page is wider than the window"
    assert list(found["figures"]) == list(figures)
    for name, expected in figures.items():
        _assert_figure(found["figures"][name], expected, found["width"])
    for table in found["tables"]:
        assert len({len(row) for row in table["rows"]}) == 1


def _assert_figure(shown: Json, expected: Expected, width: float) -> None:
    assert [one["text"] for one in shown["x_title"]] == [expected.x_title]
    assert [one["text"] for one in shown["y_title"]] == [expected.y_title]
    assert re.search(r"\(.+\)$", expected.x_title), "an axis without a unit"
    assert re.search(r"\(.+\)$", expected.y_title), "an axis without a unit"
    assert [one["text"] for one in shown["legend_title"]] == [expected.legend]
    assert [one["text"] for one in shown["legend"]] == list(expected.lines)
    assert [line["name"] for line in shown["lines"]] == list(expected.lines)
    drawn = [sum(y is not None for y in line["y"]) for line in shown["lines"]]
    assert shown["points"] == drawn
    assert min(drawn) > 0
    pieces = [*shown["x_title"], *shown["y_title"], *shown["legend_title"], *shown["legend"], *shown["ticks"]]
    assert len(shown["ticks"]) >= 4
    for piece in (*pieces, *shown["labels"]):
        left, top, right, bottom = piece["box"]
        assert (right - left) * (bottom - top) > 0, f"{piece} is not visible"
        assert _inside(piece["box"], shown["box"]), f"{piece} is cut off: the figure is {shown['box']}"
        assert 0 <= left <= right <= width, f"{piece} is outside of the window"
    for place, piece in enumerate(pieces):
        for other in pieces[place + 1 :]:
            assert not _overlap(piece["box"], other["box"]), f"{piece} and {other} lie on each other"


def _inside(inner: t.Sequence[float], outer: t.Sequence[float]) -> bool:
    return (
        inner[0] >= outer[0] - 1 and inner[1] >= outer[1] - 1 and inner[2] <= outer[2] + 1 and inner[3] <= outer[3] + 1
    )


def _overlap(one: t.Sequence[float], other: t.Sequence[float]) -> bool:
    # Boxes of text have some air around the letters.
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide > 2 and high > 4
