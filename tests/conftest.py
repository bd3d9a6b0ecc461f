"""What all tests share."""

from typing import Any

import pytest
from hypothesis import settings

# No example is timed: the machine may be busy
settings.register_profile("starprompt", deadline=None, max_examples=50)
settings.load_profile("starprompt")


@pytest.fixture(scope="session")
def analyses(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``Analyses`` of made-up runs of the variants on two data sets; nothing writes into it."""
    from tests.helpers.fake_ablations import fake_analyses

    return fake_analyses(tmp_path_factory.mktemp("fake"), datasets=2)
