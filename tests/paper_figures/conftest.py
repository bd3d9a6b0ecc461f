"""Results that tests of tables and figures share."""

import pytest

from paper_figures.collect import Results, collect
from tests.helpers import fake_results


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two data sets, thirteen methods with awkward titles, three seeds."""
    plan = fake_results.fake_plan(tmp_path_factory.mktemp("runs"), methods=13, datasets=2)
    fake_results.write_fake_runs(plan)
    return collect(plan)
