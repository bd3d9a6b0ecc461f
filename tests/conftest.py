"""What all tests share."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# No example is timed: the machine may be busy
settings.register_profile("starprompt", deadline=None, max_examples=50)
settings.load_profile("starprompt")

# A shell starts what it puts in the background with Ctrl-C ignored, and tests send that signal
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Variables that a test's commands set, such as those that hide GPUs, end with the test."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({n: value for n, value in before.items() if os.environ.get(n) != value})


@pytest.fixture(scope="session")
def analyses(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``Analyses`` of made-up runs of the variants on two data sets; nothing writes into it."""
    from tests.helpers.fake_ablations import fake_analyses

    return fake_analyses(tmp_path_factory.mktemp("fake"), datasets=2)
