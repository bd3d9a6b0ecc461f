"""A table in its four forms: no text of data is taken for markup."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from paper_figures.tables import escape, forms
from tests.helpers.hostile_texts import HOSTILE, table_of


def test_no_cell_of_the_csv_is_a_formula_and_numbers_stay_numbers() -> None:
    rows = list(csv.reader(io.StringIO(forms.to_csv(table_of(HOSTILE)))))
    assert len(rows) == len(HOSTILE) + 1
    for title, value in rows[1:]:
        assert not title.lstrip().startswith(("=", "+", "-", "@"))
        float(value)
    assert rows[2][1] == "-1.5"


def test_markdown_shows_hostile_text_as_it_is() -> None:
    markdown_it = pytest.importorskip("markdown_it")
    reader = markdown_it.MarkdownIt("gfm-like", {"linkify": False}).enable("table")
    page = reader.render(forms.to_markdown(table_of(HOSTILE)))
    assert not re.search(r"<(a|img|script|em|code|h1|ol)\b", page)
    assert page.count("<td") == 2 * len(HOSTILE)
    assert page.count("<ul>") == 1 and page.count("<li>") == len(HOSTILE)
    for text in HOSTILE:
        assert escape.escape_html(text).strip().replace("&#x27;", "'") in page.replace(
            "&quot;", "&quot;"
        )


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html_shows_hostile_text_as_it_is() -> None:
    reader = _Texts()
    reader.feed(forms.to_html(table_of(HOSTILE)))
    assert reader.tags == {"table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    for text in HOSTILE:
        assert escape.one_line(text) in reader.texts
