"""Titles and notes that want to be more than text."""

import pandas as pd

from paper_figures.tables.table import Table

#: titles and notes that want to be more than text
HOSTILE = [
    "=HYPERLINK(\"http://evil\")",
    "+1", "-1+2", "@SUM(A1)", "\t=1",
    "[click](http://evil)", "![x](http://evil/y.png)", "[a]: http://evil", "&lt;b&gt;",
    "<script>alert(1)</script>", "a|b", "line\nbreak", "https://evil.example www.evil.example",
    r"\input{/etc/passwd}", "$x_1^2$", "100% & {more} #1 ~ \\", "**bold** `code` _it_",
    "# heading", "- item", "1. item", "− ≥ ü 方法 & %",
]  # fmt: skip


def table_of(texts: list[str]) -> Table:
    cells = pd.DataFrame({"Method": texts, "Value": [str(i) for i in range(len(texts))]})
    numbers = pd.DataFrame({"title": texts, "value": [-1.5 * i for i in range(len(texts))]})
    return Table("t", texts[0], cells, numbers, texts)
