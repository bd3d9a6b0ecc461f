"""A table as CSV, Markdown, LaTeX and HTML."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from paper_figures.stamps import stamped
from paper_figures.tables.escape import (
    escape_csv,
    escape_html,
    escape_latex,
    escape_markdown,
    latex_letters,
)
from paper_figures.tables.table import Place, Table
from starprompt.files import write_text

#: suffixes of the files of a table
FORMS = ("csv", "md", "tex", "html")


def write_table(table: Table, folder: Path, plan_name: str) -> list[Path]:
    """Write every form of ``table`` under ``folder``; return their paths."""
    texts = {
        "csv": to_csv(table),
        "md": to_markdown(table),
        "tex": to_latex(table, f"{plan_name}-{table.name}"),
        "html": to_html_page(table),
    }
    paths = []
    for suffix in FORMS:
        path = folder / f"{table.name}.{suffix}"
        write_text(path, stamped(suffix, texts[suffix]))
        paths.append(path)
    return paths


def to_csv(table: Table) -> str:
    """The numbers in full. No text becomes a formula of a spreadsheet."""
    numbers = table.numbers.map(escape_csv).rename(columns=lambda name: escape_csv(str(name)))
    return numbers.to_csv(index=False)


def to_markdown(table: Table, notes: bool = True) -> str:
    """A pipe table with the caption above and, where asked, the notes below."""

    cells = _dressed(table, _MARKDOWN)
    headings = [escape_markdown(str(name)) for name in table.cells.columns]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    rows = ["| " + " | ".join(_justified(cells, widths)) + " |" for cells in (headings, *cells)]
    rule = "|" + "|".join(
        ":" + "-" * (width + 1) if at == 0 else "-" * (width + 1) + ":"
        for at, width in enumerate(widths)
    )
    parts = [f"**{escape_markdown(table.caption)}**", "\n".join([rows[0], rule + "|", *rows[1:]])]
    if notes and all_notes(table):
        parts.append("\n".join(f"- {_marked(note, escape_markdown)}" for note in all_notes(table)))
    return "\n\n".join(parts) + "\n"


def _justified(cells: list[str], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if at == 0 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]


def to_latex(table: Table, label: str) -> str:
    """A float that needs the package booktabs alone."""

    lines = [r"\toprule"]
    if any(title for title, _ in table.spans):
        lines += _latex_spans(table)
    headings = " & ".join(escape_latex(str(name)) for name in table.cells.columns)
    lines.append(_guarded(headings) + r" \\")
    lines.append(r"\midrule")
    for at, row in enumerate(_dressed(table, _LATEX)):
        if at in table.rules:
            lines.append(rf"\addlinespace[2pt]\cmidrule{{1-{len(table.cells.columns)}}}")
        lines.append(_guarded(" & ".join(row)) + r" \\")
    lines.append(r"\bottomrule")
    raised = r"\textsuperscript{%s}"
    notes = "\n".join(rf"\par {_marked(note, escape_latex, raised)}" for note in all_notes(table))
    below = (
        f"\n\\begin{{minipage}}{{\\linewidth}}\n\\footnotesize\n{notes}\n\\end{{minipage}}\n"
        if notes
        else ""
    )
    body = "\n".join(lines)
    columns = "l" + "r" * (len(table.cells.columns) - 1)
    text = (
        f"\\setlength{{\\tabcolsep}}{{4pt}}\n\\caption{{{escape_latex(table.caption)}}}\n"
        f"\\label{{tab:{label}}}\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n"
        f"{below}"
    )
    return (
        "% needs \\usepackage{booktabs}\n\\begin{table}[t]\n"
        f"{latex_letters(text)}\\centering\n\\small\n{text}\\end{{table}}\n"
    )


def _guarded(row: str) -> str:
    """A row that no command before it takes for its option or its star."""
    return f"{{}}{row}" if row.startswith(("[", "*")) else row


def _latex_spans(table: Table) -> list[str]:
    cells, rules, at = [], [], 1
    for title, count in table.spans:
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape_latex(title)}}}" if title else "")
        if title:
            rules.append(rf"\cmidrule(lr){{{at}-{at + count - 1}}}")
        else:
            cells += [""] * (count - 1)
        at += count
    return [" & ".join(cells) + r" \\", " ".join(rules)]


def to_html(table: Table, notes: bool = True) -> str:
    """A ``<table>`` with its caption, one ``<tbody>`` per block of rows, and the notes."""

    head = ""
    if any(title for title, _ in table.spans):
        spans = "".join(
            f'<th colspan="{count}">{escape_html(title)}</th>' for title, count in table.spans
        )
        head = f"<tr>{spans}</tr>"
    names = "".join(f'<th scope="col">{escape_html(str(n))}</th>' for n in table.cells.columns)
    head += f"<tr>{names}</tr>"
    blocks = ["<tbody>"]
    for at, (first, *rest) in enumerate(_dressed(table, _HTML)):
        if at in table.rules:
            blocks.append("</tbody><tbody>")
        cells = "".join(f"<td>{cell}</td>" for cell in rest)
        blocks.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    body = "\n".join([*blocks, "</tbody>"])
    said = "".join(
        f"<li>{_marked(note, escape_html, '<sup>%s</sup>')}</li>" for note in all_notes(table)
    )
    below = f'\n<ul class="notes">{said}</ul>' if notes and said else ""
    return (
        f"<table><caption>{escape_html(table.caption)}</caption>\n<thead>{head}</thead>\n"
        f"{body}\n</table>{below}\n"
    )


def to_html_page(table: Table) -> str:
    """A page with the table alone, for a browser or Snakemake's report."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape_html(table.caption)}</title><style>{STYLE}</style></head>\n"
        f"<body>{to_html(table)}</body></html>\n"
    )


#: of a page with one table
STYLE = (
    "body{font:14px/1.4 sans-serif;margin:1em}table{border-collapse:collapse}"
    "caption{text-align:left;font-weight:bold;padding:.4em 0}th,td{padding:.2em .6em;"
    "text-align:right;white-space:nowrap}th[scope=row],th:first-child{text-align:left}"
    "thead{border-bottom:1px solid}tbody+tbody{border-top:1px solid #999}"
    ".notes{font-size:85%;color:#444}"
)


@dataclass(frozen=True)
class _Dress:
    """How a form writes a cell: its text, the best, the second best, and the letter of a footnote.

    ``%s`` is what stands inside.
    """

    escape: Callable[[str], str]
    best: str
    second: str
    mark: str


_MARKDOWN = _Dress(escape_markdown, "**%s**", "<ins>%s</ins>", " <sup>%s</sup>")
_LATEX = _Dress(escape_latex, r"\textbf{%s}", r"\underline{%s}", r"\textsuperscript{%s}")
_HTML = _Dress(escape_html, "<strong>%s</strong>", "<u>%s</u>", "<sup>%s</sup>")


def _dressed(table: Table, dress: _Dress) -> list[list[str]]:
    """The cells as a form writes them."""

    def cell(text: object, place: Place) -> str:
        written = dress.escape(str(text))
        if place in table.best:
            written = dress.best % written
        elif place in table.second:
            written = dress.second % written
        return written + (dress.mark % table.marks[place] if place in table.marks else "")

    return [
        [cell(text, (row, column)) for column, text in enumerate(texts)]
        for row, texts in enumerate(table.cells.itertuples(index=False, name=None))
    ]


def all_notes(table: Table) -> list[str]:
    """The table's own notes, and what bold and underlined mean where some cell is."""
    said = list(table.notes)
    if table.best or table.second:
        words = [("bold", "best", table.best), ("underlined", "second best", table.second)]
        listed = ", ".join(f"{look}: {what}" for look, what, cells in words if cells)
        said.insert(min(1, len(said)), f"{listed.capitalize()} of the column, bounds left out.")
    return said


def _marked(note: str, escape: Callable[[str], str], mark: str = "<sup>%s</sup>") -> str:
    """A note; one that begins with its letter and a parenthesis gets the letter raised."""
    letter, closed, rest = note.partition(") ")
    if closed and len(letter) <= 2 and letter.isalpha():
        return f"{mark % letter} {escape(rest)}"
    return escape(note)
