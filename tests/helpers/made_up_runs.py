"""Small plans whose runs are made up."""

from pathlib import Path

from paper_figures.plan import Plan
from tests.helpers import fake_results


def small_plan(folder: Path, **sizes: int) -> Plan:
    plan = fake_results.fake_plan(folder, **sizes)
    fake_results.write_fake_runs(plan)
    return plan
