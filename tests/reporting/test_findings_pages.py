"""Findings among the docs: copied on request, and marked once they describe something else."""

import re
from pathlib import Path

import pytest

from paper_figures.provenance import stamped
from starprompt.config.experiment import load_config
from starprompt.errors import UserError
from starprompt.reporting import findings_pages
from starprompt.reporting.findings_pages import changed_since, with_notice
from tests.helpers.findings_stamp import BASELINES, made_from
from tests.helpers.paths import REPOSITORY

README = """
<!-- accuracy demo-baselines -->
| Method | Digits |
|:--|--:|
| STAR-Prompt | **94.80 ± 0.42** |
<!-- end -->
"""


def page_of(**changes: object) -> str:
    config = load_config(BASELINES)
    page = "# Findings\n\nA table.\n\n| Method | Last |\n|--|--|\n| STAR-Prompt | 94.8 ± 0.4 |\n"
    return stamped(page, made_from(config, **changes))


def test_a_page_of_todays_configuration_is_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(README)
    found = list(changed_since(page_of(), load_config(BASELINES), tmp_path / "README.md"))
    assert found == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"titles": {"starprompt": "STAR-Prompt"}}, r"Not in it: .*L2P.*\."),
        ({"seeds": (1,)}, r"seeds are now 1993, 1996, 1997\."),
        ({"datasets": ("cifar100",)}, r"data sets are now digits\."),
        ({"depends": {"l2p": "other"}}, r"Set up otherwise since: L2P\."),
    ],
)
def test_what_changed_since_is_said(changes: dict[str, object], said: str) -> None:
    found = list(changed_since(page_of(**changes), load_config(BASELINES), Path("absent.md")))
    assert len(found) == 1 and re.search(said, found[0])


def test_another_number_in_the_readme_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(README.replace("0.42", "0.72"))
    (found,) = changed_since(page_of(), load_config(BASELINES), path)
    assert "README's table is of other runs: STAR-Prompt 94.80 ± 0.72 there" in found


def test_a_notice_is_replaced_and_removed() -> None:
    page = "# T\n\nRest.\n"
    marked = with_notice(page, ["Not in it: A."])
    assert marked.startswith("# T\n\n> **Out of date.** Not in it: A.\n\nRest.")
    assert with_notice(marked, ["Not in it: B."]) == marked.replace("A.", "B.")
    assert with_notice(marked, []) == page


def test_the_docs_copy_a_page_with_its_figures(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "demo-baselines"
    (folder / "figures").mkdir(parents=True)
    (folder / "figures" / "prompt-use-digits.png").write_bytes(b"png")
    (folder / "findings.md").write_text(page_of() + "\n![Use](figures/prompt-use-digits.png)\n")
    docs = tmp_path / "docs"
    written = findings_pages.write_findings_pages(
        BASELINES, docs, tmp_path / "results", tmp_path / "README.md"
    )
    image = docs / "images" / "demo-baselines-prompt-use-digits.png"
    assert written == [docs / "findings-demo-baselines.md", image]
    assert "(images/demo-baselines-prompt-use-digits.png)" in written[0].read_text()
    assert image.read_bytes() == b"png"


def test_findings_that_are_not_there_name_the_target(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make it with `snakemake compare` first"):
        findings_pages.write_findings_pages(BASELINES, tmp_path, tmp_path, tmp_path / "R.md")
    with pytest.raises(UserError, match="make it with `snakemake ablations` first"):
        findings_pages.write_findings_pages(
            Path("config/demo.yaml"), tmp_path, tmp_path, tmp_path / "R.md"
        )


def test_every_page_of_the_docs_says_whether_it_is_up_to_date() -> None:
    pages = list(findings_pages.findings_pages(REPOSITORY / "docs"))
    assert pages
    for page, config in pages:
        text = page.read_text(encoding="utf-8")
        reasons = list(changed_since(text, config, REPOSITORY / "README.md"))
        assert with_notice(text, reasons) == text, f"{page.name}: run `starprompt docs`"
