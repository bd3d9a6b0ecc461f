"""The figure of published numbers shows every source and ours."""

from pathlib import Path

from paper_figures.figures.published import published
from paper_figures.plan import Published
from paper_figures.style import paper_style
from tests.helpers.published_results import results_with

METRIC = "final_average_accuracy"


def test_the_figure_shows_every_source_and_ours(tmp_path: Path) -> None:
    numbers = [
        Published("method-0", "set-0", METRIC, 90.0 + i, None, kind, "A")
        for i, kind in enumerate(["authors", "paper", "rerun"])
    ]
    found = results_with(tmp_path, *numbers)
    with paper_style():
        figure = published(found, "set-0")
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert labels == {"authors", "paper", "rerun", "ours ± deviation"}
