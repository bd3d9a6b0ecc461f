"""Results beside published numbers."""

from dataclasses import replace
from pathlib import Path

from paper_figures.collect import Results, collect
from paper_figures.plan import Published
from tests.helpers import fake_results


def results_with(folder: Path, *numbers: Published) -> Results:
    plan = fake_results.fake_plan(folder, methods=3, datasets=1, seeds=3)
    fake_results.write_fake_runs(plan)
    return collect(replace(plan, published=numbers))
