"""The workflow through the SLURM profile, on a real SLURM: what a local call gives, it gives."""

import subprocess
from pathlib import Path

import pytest

from tests.helpers.cluster import GPUS, Cluster
from tests.helpers.workplace import (
    FOUR,
    Reference,
    Workplace,
    at_once,
    check,
    end,
    often,
    repeated,
    until,
)


@pytest.mark.usefixtures("short_of_time")
def test_the_quick_demo_gives_the_tables_of_a_local_call(cluster: Cluster, tmp_path: Path) -> None:
    """From nothing to the tables, in two folders that share nothing, both at the same time."""
    on_cluster = Workplace(tmp_path / "cluster")
    local = Workplace(tmp_path / "local")
    demo = ("--configfile", "config/demo-quick.yaml")
    process = on_cluster.start(cluster, *demo, first_look=4)
    local.command(cluster, "starprompt.grid.snakemake", "--cores", "1", *demo)
    end(process, on_cluster)
    assert on_cluster.tables("demo-quick") == local.tables("demo-quick")
    figures = {
        place: {file.name for file in (place.folder / "results/demo-quick/figures").iterdir()}
        for place in (on_cluster, local)
    }
    assert figures[on_cluster] == figures[local]


def test_a_time_limit_that_is_too_short_only_costs_attempts(
    cluster: Cluster,
    short_of_time: tuple[Workplace, subprocess.Popen[bytes]],
    reference: Reference,
) -> None:
    """It strikes without an early signal; the next attempt goes on there, and has more time."""
    place, process = short_of_time
    end(process, place)
    stretches = check(place, cluster, reference)
    for seed in (1993, 1996):
        assert place.record(seed)["attempts"] in (2, 3)
        assert len({s.job for s in stretches if s.seed == seed}) >= 2
    assert not repeated(stretches), "a run did not keep the step that it was at"
    assert "SLURM status is: 'TIMEOUT'" in place.log()


def test_four_runs_at_once_have_four_devices(
    cluster: Cluster, data: Path, reference: Reference, tmp_path: Path
) -> None:
    """As `starprompt submit` calls for them, and as `starprompt status` tells of them."""
    place = Workplace(tmp_path / "place", data, **FOUR)
    submit = ("starprompt.cli", "submit", "--config", "config/toy.yaml", "--go", "--", *often(4))
    process = place.background(cluster, *submit, pause=0.15)
    until(lambda: len(place.stretches()) == GPUS, "four never trained at once", 300)
    printed = place.command(cluster, "starprompt.cli", "status", "--config", "config/toy.yaml")
    comments = cluster.call("squeue", "-h", "-o", "%k").stdout.split()
    end(process, place)

    stretches = place.stretches()
    assert len(stretches) == GPUS
    assert len(at_once(stretches)) == GPUS * (GPUS - 1) // 2, "they did not run at once"
    assert {stretch.devices for stretch in stretches} == {f"fake{gpu}" for gpu in range(GPUS)}
    assert not repeated(stretches)
    assert place.tables("toy") == reference.tables
    assert place.predictions() == reference.predictions

    assert "toy: 4 runs: 4 running" in printed
    for stretch in stretches:
        (line,) = [line for line in printed.splitlines() if f"seed {stretch.seed}" in line]
        assert f"SLURM job {stretch.job}, process {stretch.process} on" in line
        assert f"device {stretch.devices}" in line
        assert f"rule_train_wildcards_digits_slow-probe_{stretch.seed}" in comments
    done = place.command(cluster, "starprompt.cli", "status", "--config", "config/toy.yaml")
    assert "toy: 4 runs: 4 finished" in done
    assert "--default-resources slurm_partition=main slurm_account=toy" in place.log()
    assert "train:gpu_model=fake" in place.log()


def test_jobs_of_two_gpus_and_gpus_as_generic_resources(
    cluster: Cluster, data: Path, reference: Reference, tmp_path: Path
) -> None:
    """Two workflows at once: one requests two GPUs a job, the other its GPU by --gres."""
    pairs = Workplace(tmp_path / "pairs", data, gpu=2)
    named = Workplace(tmp_path / "named", data)
    runs = ("runs", "--configfile", "config/toy.yaml")
    gres = ("--set-resources", "train:gpu=0", "train:gres=gpu:fake:1")
    both = {
        pairs: pairs.start(cluster, *runs, pause=0.05, first_look=4),
        named: named.start(cluster, *runs, *gres, pause=0.05, first_look=4),
    }
    for place, process in both.items():
        end(process, place)
    trained = {place: check(place, cluster, reference) for place in both}
    assert [len(stretch.devices.split(",")) for stretch in trained[pairs]] == [2, 2]
    assert [len(stretch.devices.split(",")) for stretch in trained[named]] == [1, 1]
    for place, asked in ((pairs, "TresPerJob=gres:gpu:2"), (named, "TresPerNode=gres:gpu:fake:1")):
        for stretch in trained[place]:
            job = cluster.call("scontrol", "show", "job", str(stretch.job)).stdout
            assert asked in job.split()
    for a, b in at_once([*trained[pairs], *trained[named]]):
        assert not set(a.devices.split(",")) & set(b.devices.split(","))
