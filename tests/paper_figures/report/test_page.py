"""The page with everything: whole, escaped, without a network, and usable in a real browser."""

import re
import shutil
import subprocess
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


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_real_browser_sorts_filters_and_opens_a_run(page: Path, tmp_path: Path) -> None:
    """The page's own script runs under its policy; a copy without it is driven from within."""
    import json

    text = page.read_text(encoding="utf-8")
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    driven = tmp_path / "driven.html"
    driven.write_text(policy.sub("", text).replace("</body>", f"{DRIVER}</body>"))
    done = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=400,800",
            "--virtual-time-budget=3000",
            "--enable-logging=stderr",
            "--dump-dom",
            driven.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout)
    assert found is not None, done.stderr[-2000:]
    result = json.loads(found.group(1))
    descending = [float(value) for value in result["descending"]]
    assert descending == sorted(descending, reverse=True)
    assert [float(value) for value in result["ascending"]] == sorted(descending)
    assert result["filtered"] == 1 and result["open"] == 1
    assert result["wide"] <= 0, "the page is wider than 400 pixels"
    assert "CONSOLE" not in done.stderr.replace("CONSOLE(0)", "")
    assert "owned" not in re.findall(r"<title>(.*?)</title>", done.stdout)[0][:5]
