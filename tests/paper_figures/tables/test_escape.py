"""Titles stay one line of plain text in every form."""

import re

from hypothesis import given
from hypothesis import strategies as st

from paper_figures.tables import escape
from paper_figures.tables.escape import escape_latex


@given(st.text())
def test_a_title_is_one_line_of_text_in_every_form(text: str) -> None:
    for to in (escape.escape_markdown, escape.escape_latex, escape.escape_html):
        assert len(to(text).splitlines()) <= 1
    assert not re.search(r"[<>\"']", escape.escape_html(text))
    assert not re.search(r"(?<!\\)<", escape.escape_markdown(text))


@given(st.text())
def test_escaped_latex_has_no_bare_special_character(text: str) -> None:
    bare = re.sub(r"\\(text\w+\{\}|[&%$#_{}])|\$\\\w+\$", "", escape_latex(text))
    assert not re.search(r"[&%$#_{}^\\]", bare)
