"""A small stream that tests of competitors share."""

import pytest

from starprompt.data.stream import TaskStream
from tests.helpers.small_stream import small_stream


@pytest.fixture(scope="session")
def stream() -> TaskStream:
    return small_stream([2, 2, 6])
