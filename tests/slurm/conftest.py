"""One cluster for all tests of this folder, and what they compare their results with."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.cluster import Cluster, NoClusterError, running
from tests.helpers.workplace import FOUR, Reference, Workplace

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A SLURM of one node with four GPUs; in the end no process that stems from it is left."""
    folder = tmp_path_factory.mktemp("slurm-cluster")
    try:
        with running(folder) as cluster:
            yield cluster
    except NoClusterError as reason:
        pytest.skip(str(reason))
    deadline = time.monotonic() + 20
    while (left := cluster.processes()) and time.monotonic() < deadline:
        time.sleep(0.5)
    for process in left:
        os.kill(process, signal.SIGKILL)
    # Without cgroups SLURM loses sight of a cancelled job's Snakemake that is slow to end.
    left = {process: words for process, words in left.items() if "--mode remote" not in words}
    assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def data(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the digits prepared."""
    root = tmp_path_factory.mktemp("data")
    workplace = Workplace(tmp_path_factory.mktemp("preparing") / "place", root)
    workplace.command(cluster, "starprompt.cli", "data", "prepare", "digits")
    return root


@pytest.fixture(scope="session")
def reference(cluster: Cluster, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """What undisturbed runs give."""
    workplace = Workplace(tmp_path_factory.mktemp("reference") / "place", data, **FOUR)
    return Reference(workplace, cluster)


@pytest.fixture(scope="session")
def short_of_time(
    cluster: Cluster, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workplace, subprocess.Popen[bytes]]:
    """Runs whose first attempt has one minute and needs more; begun early: limits strike late."""
    place = Workplace(tmp_path_factory.mktemp("short") / "place", data)
    minutes = ("--set-resources", "train:runtime=attempt")
    # without the profile's early signal
    minutes += ("--default-resources", "slurm_partition=main", "slurm_account=toy")
    runs = ("runs", "--configfile", "config/toy.yaml")
    return place, place.start(cluster, *runs, *minutes, pause=0.5)
