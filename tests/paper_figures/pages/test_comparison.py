"""The page that compares methods says what the numbers say."""

from pathlib import Path

from paper_figures.pages.comparison import comparison
from paper_figures.tables.comparison import errors_table
from tests.helpers.compared_methods import made_analyses


def test_the_page_says_what_the_numbers_say(tmp_path: Path) -> None:
    analyses = made_analyses(tmp_path)
    page = comparison(analyses, ["It is made up of <b> | _c_."], None, {"set-0": "images/use.png"})
    assert r"- It is made up of \<b\> \| \_c\_." in page
    assert "The best continual method is Best (100.0%)." in page
    assert "is not above all: higher ends Best (100.0%), by 25.0 points, in 2 of 2 seeds" in page
    assert "Fine-tuning (25.0%) is below every method that prompts the ViT" in page
    assert "Of 2 continual methods, 1 make more than 90%" in page
    assert "the same prompts serve every task" in page
    assert "![How prompts are used, Data set 0](images/use.png)" in page
    errors, runs = (analyses.table(name, "set-0") for name in ("errors", "comparison"))
    cells = errors_table(analyses.plan, errors, runs).cells.set_index("Method")
    assert cells.loc["Prompted", "Last [%]"] == "50.0 ± 0.0"
