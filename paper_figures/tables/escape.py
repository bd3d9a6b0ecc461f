"""Text from data (titles, class names, notes) as Markdown, LaTeX, HTML and CSV print it.

Nothing that stands in a title becomes a link, an image, a command, a formula or a new line.
"""

import html
import re
import unicodedata

from starprompt.record.csv_rows import no_formula


def one_line(text: str) -> str:
    """``text`` on one line: control characters and line ends become spaces."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") else c for c in text)


def escape_markdown(text: str) -> str:
    """``text`` as Markdown prints it, in a pipe table, a list or a paragraph."""
    text = re.sub(r"([\\|*_`$<>~#])", r"\\\1", one_line(text))
    text = re.sub(r"\](?=[(\[:])", r"\\]", text)  # no link, reference or definition
    text = re.sub(r"!(?=\[)", r"\\!", text)  # no image
    text = re.sub(r"&(?=#?\w+;)", r"&amp;", text)  # no entity
    text = re.sub(r":(?=//)|(?<=www)\.", r"\\\g<0>", text)  # no bare address
    return re.sub(r"^(\s*)([-+](?=\s)|\d+(?=[.)]\s))", _guarded, text)  # no list, no number


def _guarded(match: re.Match[str]) -> str:
    before, start = match.groups()
    return f"{before}\\{start}" if start in "-+" else f"{before}{start}\\"


def escape_latex(text: str) -> str:
    """``text`` as LaTeX prints it; :func:`latex_letters` covers what pdfLaTeX has no glyph for."""
    return "".join(_LATEX.get(c, c) for c in unicodedata.normalize("NFC", one_line(text)))


def latex_letters(latex: str) -> str:
    """Definitions without which pdfLaTeX stops at a letter that it has no glyph for.

    It prints the letter's code then. XeLaTeX and LuaLaTeX print the letter where their font has it.
    """
    return "".join(
        f"\\expandafter\\ifx\\csname u8:\\detokenize{{{letter}}}\\endcsname\\relax"
        f"\\expandafter\\def\\csname u8:\\detokenize{{{letter}}}\\endcsname"
        f"{{\\texttt{{U+{ord(letter):04X}}}}}\\fi\n"
        for letter in sorted(set(latex))
        if not letter.isascii()
    )


_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψω",
        (
            *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota"),
            *("kappa", "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon"),
            *("phi", "chi", "psi", "omega"),
        ),
        strict=True,
    )
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "\u2212": r"\textminus{}",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "√": r"$\surd$",
    "Δ": r"$\Delta$",
    "Σ": r"$\Sigma$",
    "Ω": r"$\Omega$",
    "²": r"\texttwosuperior{}",
    "³": r"\textthreesuperior{}",
    "°": r"\textdegree{}",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "\u00a0": "~",
    "–": "--",
    "—": "---",
    "…": r"\textellipsis{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "«": "``",
    "»": "''",
    "µ": r"$\mu$",
    **{letter: rf"$\{name}$" for letter, name in _GREEK.items()},
}


def escape_html(text: str) -> str:
    """``text`` as HTML prints it, in an element or a quoted attribute."""
    return html.escape(one_line(text), quote=True)


def escape_csv(value: object) -> object:
    """A text that a spreadsheet takes for a formula gets an apostrophe in front; else unchanged."""
    if isinstance(value, str):
        return no_formula(one_line(value))
    return value
