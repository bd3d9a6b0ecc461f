"""What all tests share."""

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# No example is timed: the machine may be busy
settings.register_profile("starprompt", deadline=None, max_examples=50)
settings.load_profile("starprompt")

# Sums of several threads round otherwise than those of one, and tests compare bytes. What a test
# starts inherits it.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell starts what it puts in the background with Ctrl-C ignored, and tests send that signal
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def one_thread() -> None:
    """Sum on one thread, whatever a test or fixture before this one has set."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Threads and variables that a test's commands set, such as those that hide GPUs, end with it.

    They begin anew before the test too: fixtures of wider scope run commands before this one.
    """
    one_thread()
    before = dict(os.environ)
    yield
    one_thread()
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({n: value for n, value in before.items() if os.environ.get(n) != value})


@pytest.fixture(scope="session")
def analyses(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``Analyses`` of made-up runs of the variants on two data sets; nothing writes into it."""
    from tests.helpers.fake_ablations import fake_analyses

    return fake_analyses(tmp_path_factory.mktemp("fake"), datasets=2)
