"""The page with everything: whole, escaped, without a network, and usable in a real browser."""

import json
import re
import subprocess
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from paper_figures.collect import Results, collect
from paper_figures.figures.selection import choices_of_run
from paper_figures.provenance import provenance
from paper_figures.report.data_sheet import DataSheet, Strip
from paper_figures.report.page import Part, link, write_report
from paper_figures.tables.paper import cost_table
from starprompt.config.thresholds import Thresholds
from starprompt.record.run_files import SELECTION
from tests.helpers.chromium import CHROMIUM, FLAGS, browser
from tests.helpers.hostile_results import HOSTILE, hostile_results
from tests.helpers.made_up_runs import small_plan

installed = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
#: what a file of that kind begins with; no picture
JPEG = b"\xff\xd8\xff"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return hostile_results(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    log = folder / "logs" / "set-0" / "method-0" / "seed1993-1996.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"first\n{HOSTILE}\nlast line\n")
    figure = folder / "a-figure.png"
    Image.new("RGB", (1400, 20)).save(figure)
    parts = [
        Part("cost", "Cost", [cost_table(results, "set-0")], [figure], [HOSTILE]),
        Part("empty", "Nothing here"),
    ]
    made_from = provenance(results, {})
    path = folder / "report.html"
    sheets = [
        DataSheet("Digits", "Shown are two.", [(1, [Strip(HOSTILE, JPEG), Strip("one", JPEG)])]),
        DataSheet(HOSTILE, HOSTILE),
    ]
    return write_report(
        results, path, made_from, parts, f"title: {HOSTILE}", Thresholds(), folder / "logs", sheets
    )


def test_two_data_sets_of_one_title_keep_their_own_numbers(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, methods=1, datasets=2, seeds=1)
    same = tuple(replace(dataset, title="Average") for dataset in plan.datasets)
    found = collect(replace(plan, datasets=same))
    path = tmp_path / "report.html"
    write_report(found, path, provenance(found, {}), [], "", Thresholds(), tmp_path / "logs")
    (method,) = plan.methods
    for dataset in plan.datasets:
        (record,) = found.of(dataset.name, method.name).values()
        value = f"{record.metrics.final_average_accuracy:.10g}"
        cell = f'<td data-value="{value}"><a href="#{link(method.name, dataset.name)}">'
        assert cell in path.read_text(encoding="utf-8")


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
            kinds = ("#", "data:image/png;base64,", "data:image/jpeg;base64,")
            assert value.startswith(kinds), value
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text and "&lt;/script&gt;" in text
    assert "url(" not in text and "@import" not in text


def test_a_figure_has_its_printed_size_and_can_be_scrolled_by_key(page: Path) -> None:
    (figure,) = [a for tag, a in tags(page) if tag == "img" and "width" in a]
    assert figure["width"] == "700" and figure["alt"] == "A figure"
    regions = [a for tag, a in tags(page) if tag == "div" and a.get("aria-label") == "A figure"]
    assert [region.get("tabindex") for region in regions] == ["0"]


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


def test_a_data_set_shows_images_by_task_or_says_why_not(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    data = text[text.index('<section id="data">') : text.index('<section id="runs">')]
    assert data.count("<img") == 2 and "<h4>Task 1</h4>" in data
    assert data.index("Shown are two.") < data.index("<img") < data.index("&lt;/script&gt;")


def test_runs_that_choose_prompts_show_whose_they_chose(page: Path, results: Results) -> None:
    text = page.read_text(encoding="utf-8")
    choosing = 0
    for (dataset, method, seed), record in results.records.items():
        start = text.index(f'<details id="{link(method, dataset, seed)}">')
        own = text[start : text.index("</details>", start)]
        found = re.findall(r'class="matrix selection">.*?</table>', own, re.DOTALL)
        path = results.plan.run_folder(dataset, method, seed) / SELECTION
        chosen = choices_of_run(path, record)
        assert len(found) == (chosen is not None)
        if chosen is not None:
            choosing += 1
            cells = re.findall(r'<td class="s.">(.*?)</td>', found[0])
            expected = [f"{value:.1f}" for value in chosen.tasks.flat]
            assert [cell.replace("&#8722;", "-") for cell in cells] == expected
    assert choosing > 2


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


@installed
def test_requests_and_messages_of_a_page_are_observed(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<img src="http://127.0.0.1:9/x.png"><script>console.error("wrong")</script>')
    found = visit(bad, tmp_path)
    assert found.requests == ["http://127.0.0.1:9/x.png"]
    assert len(found.console) == 1 and "wrong" in found.console[0]


@installed
def test_the_page_as_it_is_opens_without_a_message_or_a_request(page: Path, tmp_path: Path) -> None:
    found = visit(page, tmp_path)
    assert found.console == [] and found.requests == []
    assert "<h2>Accuracy</h2>" in found.document


VALUES = """[...document.querySelectorAll("#accuracy-table tbody tr")]
  .filter((row) => !row.hidden).map((row) => Number(row.cells[1].dataset.value))"""


@installed
def test_keys_alone_sort_filter_and_open_a_run(page: Path, tmp_path: Path) -> None:
    """The page as it is, with its policy: Tab moves, Enter presses, letters are typed."""
    with browser(tmp_path / "profile") as tab:
        tab.open(page)
        heading = "document.querySelectorAll('#accuracy-table thead button')[1]"
        for _ in range(60):
            tab.press("Tab")
            if tab.evaluate(f"document.activeElement === {heading}"):
                break
        else:
            pytest.fail("Tab does not lead to a heading of the table")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert tab.evaluate(outline) == "solid", "the focus is not shown"
        tab.press("Enter")
        descending = tab.evaluate(VALUES)
        assert len(descending) == 5
        assert descending == sorted(descending, reverse=True)
        assert tab.evaluate("document.activeElement.closest('th').ariaSort") == "descending"
        tab.press("Enter")
        assert tab.evaluate(VALUES) == sorted(descending)
        tab.evaluate("document.getElementById('filter').focus()")
        tab.press(*"joint")
        assert tab.evaluate("document.getElementById('filter').value") == "joint"
        assert len(tab.evaluate(VALUES)) == 1
        assert tab.evaluate("document.getElementById('shown').textContent") == "1 of 5"
        tab.press(*["Backspace"] * 5)
        assert len(tab.evaluate(VALUES)) == 5
        # From the filter on, Tab leads through the headings to the first number.
        for _ in range(20):
            tab.press("Tab")
            if tab.evaluate("document.activeElement.matches('td a')"):
                break
        assert tab.evaluate("document.querySelectorAll('details[open]').length") == 0
        tab.press("Enter")
        tab.wait_for("location.hash.startsWith('#run-set-0-')")
        section = "document.querySelector(location.hash)"
        tab.wait_for(f"{section}.querySelectorAll('details[open]').length === 1")
        tab.wait_for(f"{section}.getBoundingClientRect().top < innerHeight")
        assert tab.evaluate("document.title") != "owned"
        assert tab.console() == []


@installed
@pytest.mark.parametrize("width", [400, 1100])
def test_the_page_is_no_wider_than_its_window(page: Path, tmp_path: Path, width: int) -> None:
    with browser(tmp_path / "profile") as tab:
        tab.open(page, width)
        tab.evaluate("document.querySelectorAll('details').forEach((run) => { run.open = true })")
        assert tab.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
