"""Words and riddles that do not come back, in code and docs."""

import re

import pytest

from tests.helpers.paths import REPOSITORY

FOLDERS = ("starprompt", "baselines", "paper_figures", "workflow", "docs")
SUFFIXES = (".py", ".md", ".smk", ".yaml", ".rst")
#: a pattern, and what to write instead
RETIRED = {
    r"\bremembered\b": "stored",
    r"\btold\b": "say who says what, or `given`",
    r"\blet_go\b": "remove_backups",
    r"\bunder_way\b|\bunder way\b": "unfinished, current",
    r"\baside\b": "left out, without",
    r"\bwishes\b": "options",
    r"\btowers\b": "encoders",
    r"\brooms?\b": "folder; space; axes",
    r"\bself\.tested\b": "test features",
    r"\bwhoever\b": "name who",
    r"\bnobody\b": "no process, none",
    r"so many times as many": "multiplied by",
    r"\bhears of\b": "records",
    r"\bMind SIG": "Handle",
    r"cannot be told|can't be told": "is unknown",
    r"[Ii]t stands among what": "list it in their params",
    r"under each other, behind columns": "concatenate; prepend",
    r"no image of the others is|of the later tasks no image is": "only the first N tasks",
    r"for who looks at it": "for diagnostics",
    r"on nothing that a table shows": "on data and seeds that no table uses",
    r"even where SLURM is\b": "even if SLURM is available",
}
FILES = [
    path
    for folder in FOLDERS
    for path in sorted((REPOSITORY / folder).rglob("*"))
    if path.suffix in SUFFIXES and path.is_file()
]


def found(text: str) -> list[str]:
    return [
        f"line {number}: {match[0]!r}: write: {RETIRED[pattern]}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern in RETIRED
        if (match := re.search(pattern, line, flags=re.IGNORECASE))
    ]


def test_there_are_files_to_read() -> None:
    assert len(FILES) > 150


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_retired_words_do_not_come_back(path) -> None:
    assert found(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    ["who told it", "remembered features", "Keep it from whoever removes it", "the towers' blocks"],
)
def test_the_list_recognises_them(text: str) -> None:
    assert found(text)


def test_plain_words_pass() -> None:
    assert not found("a mushroom, tested images, broadside, one image encoder")
