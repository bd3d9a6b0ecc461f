"""Tables whose cells are text already: written as Markdown and LaTeX, numbers apart as CSV."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from paper_figures.tables.paper import escape_latex, escape_markdown
from starprompt.files import write_text

MINUS = "\u2212"


@dataclass(frozen=True)
class TextTable:
    """cells: unescaped text, its columns the headings; numbers: the same in full, for the CSV."""

    name: str
    caption: str
    cells: pd.DataFrame
    numbers: pd.DataFrame
    notes: Sequence[str] = ()


def number(value: float | None, digits: int, sign: bool = False) -> str:
    """A number for reading, with a true minus; a dash for none."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
    if not any(c in "123456789" for c in text):  # nothing left of it: no sign either
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def with_interval(mean: float, low: float, high: float, digits: int = 1) -> str:
    """A difference and its interval: +1.2 [−0.3, +2.7]."""
    text = number(mean, digits, sign=True)
    if math.isnan(low):
        return text
    return f"{text} [{number(low, digits, sign=True)}, {number(high, digits, sign=True)}]"


def to_markdown(table: TextTable) -> str:
    """A pipe table with the caption above and the notes below."""
    cells = table.cells.map(escape_markdown).rename(columns=escape_markdown)
    columns = ("left", *["right"] * (len(cells.columns) - 1))
    body = cells.to_markdown(index=False, disable_numparse=True, colalign=columns)
    notes = "\n".join(f"- {escape_markdown(note)}" for note in table.notes)
    return f"**{escape_markdown(table.caption)}**\n\n{body}\n\n{notes}\n"


def to_latex(table: TextTable, label: str) -> str:
    """A float that needs the package booktabs alone."""
    cells = table.cells.map(_latex).rename(columns=_latex)
    body = cells.to_latex(
        index=False, escape=False, column_format="l" + "r" * (len(cells.columns) - 1)
    ).rstrip()
    notes = "\n".join(rf"\par {_latex(note)}" for note in table.notes)
    return (
        "% needs \\usepackage{booktabs}\n\\begin{table}[t]\n\\centering\n\\small\n"
        f"\\setlength{{\\tabcolsep}}{{4pt}}\n\\caption{{{_latex(table.caption)}}}\n"
        f"\\label{{tab:{label}}}\n{body}\n\n\\begin{{minipage}}{{\\linewidth}}\n\\footnotesize\n"
        f"{notes}\n\\end{{minipage}}\n\\end{{table}}\n"
    )


def _latex(text: str) -> str:
    return escape_latex(text).replace(MINUS, "$-$")


def write_text_table(table: TextTable, folder: Path, plan_name: str) -> list[Path]:
    """Write the three forms under ``folder``; return their paths."""
    forms = {
        "csv": table.numbers.to_csv(index=False),
        "md": to_markdown(table),
        "tex": to_latex(table, f"{plan_name}-{table.name}"),
    }
    paths = []
    for suffix, text in forms.items():
        path = folder / f"{table.name}.{suffix}"
        write_text(path, text)
        paths.append(path)
    return paths
