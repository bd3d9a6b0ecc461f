"""The page that compares methods says what the numbers say."""

from pathlib import Path

import pytest

from paper_figures.analyses import Analyses
from paper_figures.collect import collect
from paper_figures.pages.comparison import comparison
from paper_figures.tables.comparison import errors_table
from starprompt.reporting import comparison as command
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


def with_runs(analyses: Analyses, *finished: tuple[str, int]) -> Analyses:
    """The comparison of these runs alone."""
    plan = analyses.plan
    for method in (m.name for m in plan.methods):
        for seed in plan.seeds:
            if (method, seed) not in finished:
                (plan.run_folder("set-0", method, seed) / "record.json").unlink()
    command._measure(collect(plan), analyses.folder)
    return analyses


@pytest.mark.parametrize(
    ("finished", "said"),
    [
        (
            [("finetune", 0), ("joint", 1)],
            ["No continual method has finished.", "No finished run here selects prompts."],
        ),
        (
            [("best", 0), ("prompted", 0), ("prompted", 1), ("finetune", 1), ("joint", 1)],
            [
                "The continual method with the highest mean is Best (100.0%); not all have "
                "finished the same seeds",
                "No continual method ends above Joint (all tasks at once) (75.0%).",
                "Fine-tuning (25.0%) is below every method that prompts the ViT",
                "100.0 (n = 1)",
            ],
        ),
        (
            [("best", 0), ("prompted", 0), ("joint", 1)],
            ["Joint (all tasks at once) (75.0%) has no seed in common with a continual method."],
        ),
    ],
)
def test_methods_are_compared_over_the_seeds_that_both_have(
    tmp_path: Path, finished: list[tuple[str, int]], said: list[str]
) -> None:
    """Best, which ends above the joint bound, shares no seed with it here."""
    page = comparison(with_runs(made_analyses(tmp_path), *finished), [], None, {})
    for sentence in said:
        assert sentence in page
    assert "Of 0 continual methods" not in page and "in 0 of 0 seeds" not in page
