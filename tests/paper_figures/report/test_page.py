"""The page with everything: whole, escaped, without a network, and usable in a real browser."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest

from paper_figures.collect import Results
from paper_figures.provenance import provenance
from paper_figures.report.page import Part, link, write_report
from paper_figures.tables.paper import cost_table
from starprompt.config.thresholds import Thresholds
from tests.helpers.hostile_results import HOSTILE, hostile_results

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return hostile_results(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    log = folder / "logs" / "set-0" / "method-0" / "seed1993-1996.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"first\n{HOSTILE}\nlast line\n")
    parts = [
        Part("cost", "Cost", [cost_table(results, "set-0")], sentences=[HOSTILE]),
        Part("empty", "Nothing here"),
    ]
    made_from = provenance(results, {})
    path = folder / "report.html"
    return write_report(
        results, path, made_from, parts, f"title: {HOSTILE}", Thresholds(), folder / "logs"
    )


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(page: Path) -> list[tuple[str, dict[str, str | None]]]:
    reader = Page()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader.tags


def test_nothing_from_data_is_markup_and_nothing_is_loaded(page: Path) -> None:
    found = tags(page)
    assert sum(tag == "script" for tag, _ in found) == 1
    for tag, attributes in found:
        assert not any(name.startswith("on") for name in attributes), tag
        assert tag not in {"link", "iframe", "object", "embed", "form"}
        for name in ("src", "href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,")), value
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text and "&lt;/script&gt;" in text
    assert "url(" not in text and "@import" not in text


def test_every_link_has_its_target_and_every_id_is_one(page: Path) -> None:
    found = tags(page)
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {a["href"] for tag, a in found if tag == "a" and a.get("href")}
    assert {str(href)[1:] for href in links} <= set(ids)
    assert f"#{link('method-0', 'set-0')}" in links


def test_runs_show_matrix_failure_modes_configuration_and_log(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("<details") == 2 * 5 * 2 - 1
    assert "Seed 1996: diverged." in text and "(n = 1)" in text
    assert "50% of the old tasks" in text
    assert "last line" in text and "nothing here" not in text.lower()
    assert text.count("<svg") >= 8
    svg = re.search(r'points="([^"]+)"', text)
    assert svg is not None and "nan" not in svg.group(1)


DRIVER = """
<script>
addEventListener("load", () => {
  const rows = () => [...document.querySelectorAll("#accuracy-table tbody tr")]
    .filter((row) => !row.hidden).map((row) => row.cells[1].dataset.value);
  const heads = document.querySelectorAll("#accuracy-table thead button");
  const out = {};
  const start = performance.now();
  heads[1].click();
  out.milliseconds = performance.now() - start;
  out.descending = rows();
  heads[1].click();
  out.ascending = rows();
  heads[2].focus();
  // What Enter on a focused button does; only a trusted key press clicks by itself.
  if (document.activeElement === heads[2]) document.activeElement.click();
  out.key = heads[2].closest("th").getAttribute("aria-sort");
  const filter = document.getElementById("filter");
  filter.value = "joint";
  filter.dispatchEvent(new Event("input"));
  out.filtered = rows().length;
  location.hash = document.querySelector("#accuracy-table td a").getAttribute("href");
  setTimeout(() => {
    out.open = document.querySelectorAll("details[open]").length;
    out.wide = document.documentElement.scrollWidth - innerWidth;
    const node = document.createElement("pre");
    node.id = "result";
    node.textContent = JSON.stringify(out);
    document.body.append(node);
  }, 200);
});
</script>
"""


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page: its document, console messages, and requests to a network."""

    document: str
    console: list[str]
    requests: list[str]


def visit(page: Path, folder: Path) -> Visit:
    """Open a page in a window 400 pixels wide; the browser's own requests are left out."""
    log = folder / "net.json"
    done = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}",
            "--window-size=400,800",
            "--virtual-time-budget=3000",
            "--enable-logging=stderr",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    text = log.read_text(encoding="utf-8")
    try:
        events = json.loads(text)["events"]
    except ValueError:  # the browser ended before it closed the list
        events = json.loads(text.rstrip().rstrip(",") + "]}")["events"]
    # A document from disk starts requests as the origin "null", the browser itself as none.
    started = [e["params"] for e in events if e.get("params", {}).get("initiator") == "null"]
    return Visit(
        done.stdout,
        [line for line in done.stderr.splitlines() if ":CONSOLE" in line],
        [p["url"] for p in started if re.match("(https?|wss?|ftp):", p.get("url", ""))],
    )


@browser
def test_requests_and_messages_of_a_page_are_observed(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("wrong")</script>')
    found = visit(bad, tmp_path)
    assert found.requests == ["http://127.0.0.1:9/x.png"]
    assert len(found.console) == 1 and "wrong" in found.console[0]


@browser
def test_the_page_as_it_is_opens_without_a_message_or_a_request(page: Path, tmp_path: Path) -> None:
    found = visit(page, tmp_path)
    assert found.console == [] and found.requests == []
    assert "<h2>Accuracy</h2>" in found.document


@browser
def test_a_real_browser_sorts_filters_and_opens_a_run(page: Path, tmp_path: Path) -> None:
    """A copy without its policy is driven from within: what that forbids would be done here."""
    text = page.read_text(encoding="utf-8")
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    driven = tmp_path / "driven.html"
    driven.write_text(policy.sub("", text).replace("</body>", f"{DRIVER}</body>"))
    done = visit(driven, tmp_path)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.document)
    assert found is not None, done.console
    result = json.loads(found.group(1))
    descending = [float(value) for value in result["descending"]]
    assert descending == sorted(descending, reverse=True)
    assert [float(value) for value in result["ascending"]] == sorted(descending)
    assert result["filtered"] == 1 and result["open"] == 1
    assert result["wide"] <= 0, "the page is wider than 400 pixels"
    assert result["key"] == "descending", "a heading has no focus, or does not sort"
    assert done.console == [] and done.requests == []
    assert "owned" not in re.findall(r"<title>(.*?)</title>", done.document)[0][:5]
