"""What befalls jobs on a cluster, on a real SLURM: every run ends as if nothing had been.

Two runs of the toy each time; what hits them hits while they train. In the end both have the bytes
of an undisturbed run, nothing was trained twice that had been kept, and no two processes ever
trained the same run at once.
"""

import os
import signal
from pathlib import Path

import pytest
from cluster import Cluster
from workplace import Reference, Stretch, Workplace, check, end, repeated, until

CONFIG = ("runs", "--configfile", "config/toy.yaml")
PAUSE = 0.1
#: what the plugin says of every job
SUBMITTED = "has been submitted with SLURM jobid"


@pytest.fixture
def place(data: Path, tmp_path: Path) -> Workplace:
    return Workplace(tmp_path / "place", data)


def well_into(place: Workplace, seed: int = 1993, task: int = 2) -> Stretch:
    """The newest process that trains a run, as soon as it is some steps into a task."""

    def found() -> Stretch | None:
        stretches = [s for s in place.stretches() if s.seed == seed]
        if stretches and stretches[-1].steps[-1] >= (task, task * 30 + 5):
            return stretches[-1]
        return None

    return until(found, f"seed {seed} never came to task {task}: {place.log()[-3000:]}", 300)


def start_now(cluster: Cluster, job: str) -> None:
    """Take away the two minutes that SLURM lets a requeued job wait."""

    def pending() -> bool:
        shown = cluster.call("squeue", "-h", "-j", job, "-o", "%T").stdout
        return shown.strip() == "PENDING" and not cluster.is_on_node(job)

    until(pending, f"job {job} was not put back into the queue", 120)
    cluster.call("scontrol", "update", f"jobid={job}", "StartTime=now")


def test_a_cancelled_job_is_tried_again_and_goes_on(
    cluster: Cluster, place: Workplace, reference: Reference
) -> None:
    """SLURM and the plugin's srun leave it no time: it goes on after its last finished task."""
    process = place.start(cluster, *CONFIG, pause=PAUSE)
    hit = well_into(place)
    assert cluster.call("scancel", str(hit.job)).returncode == 0
    end(process, place)
    stretches = check(place, cluster, reference)
    assert place.record(1993)["attempts"] == 2
    assert place.record(1996)["attempts"] == 1
    assert len({s.job for s in stretches if s.seed == 1993}) == 2


def test_a_job_that_is_asked_to_end_goes_on_at_the_very_next_step(
    cluster: Cluster, place: Workplace, reference: Reference
) -> None:
    """As `--signal=TERM@120` of the profile asks it, before its time is over."""
    process = place.start(cluster, *CONFIG, pause=PAUSE)
    hit = well_into(place)
    assert cluster.call("scancel", "--signal=TERM", str(hit.job)).returncode == 0
    end(process, place)
    stretches = check(place, cluster, reference)
    assert place.record(1993)["attempts"] == 2
    assert not repeated(stretches), "it did not keep the step that it was at"


def test_a_requeued_job_goes_on(cluster: Cluster, place: Workplace, reference: Reference) -> None:
    process = place.start(cluster, *CONFIG, pause=PAUSE)
    hit = well_into(place)
    assert cluster.call("scontrol", "requeue", str(hit.job)).returncode == 0
    start_now(cluster, str(hit.job))
    end(process, place)
    stretches = check(place, cluster, reference)
    assert place.record(1993)["attempts"] == 2
    assert [s.job for s in stretches if s.seed == 1993] == [hit.job, hit.job]


def test_pre_empted_jobs_go_on(cluster: Cluster, place: Workplace, reference: Reference) -> None:
    """A job of a partition that goes first wants every device."""
    process = place.start(cluster, *CONFIG, pause=PAUSE)
    hit = well_into(place), well_into(place, 1996)
    urgent = ("--partition=urgent", "--gpus=4", "--output=/dev/null", "--wrap=sleep 2")
    assert cluster.call("sbatch", *urgent).returncode == 0
    for stretch in hit:
        start_now(cluster, str(stretch.job))
    end(process, place)
    check(place, cluster, reference)
    assert [place.record(seed)["attempts"] for seed in (1993, 1996)] == [2, 2]


def test_a_node_fails_and_comes_back(
    cluster: Cluster, place: Workplace, reference: Reference
) -> None:
    process = place.start(cluster, *CONFIG, pause=PAUSE)
    hit = well_into(place), well_into(place, 1996)
    cluster.kill_node(*(str(stretch.job) for stretch in hit))
    node = f"nodename={cluster.host}"
    cluster.call("scontrol", "update", node, "state=down", "reason=tested")
    until(lambda: cluster.node_state().startswith("DOWN"), "the node stays up")
    cluster.start_node()
    for stretch in hit:
        start_now(cluster, str(stretch.job))
    end(process, place)
    check(place, cluster, reference)
    assert [place.record(seed)["attempts"] for seed in (1993, 1996)] == [2, 2]


def test_the_controller_is_killed_and_started_while_jobs_run(
    cluster: Cluster, place: Workplace, reference: Reference
) -> None:
    process = place.start(cluster, *CONFIG, pause=PAUSE)
    well_into(place)
    cluster.kill_controller()
    well_into(place, task=3)  # nobody needs it in order to train
    cluster.start_controller()
    end(process, place)
    stretches = check(place, cluster, reference)
    assert len(stretches) == 2
    assert not repeated(stretches)


def test_snakemake_is_killed_and_started_while_its_jobs_run(
    cluster: Cluster, place: Workplace, reference: Reference
) -> None:
    """It submits jobs for runs that others still train: those wait, and find them done."""
    process = place.start(cluster, *CONFIG, pause=PAUSE)
    well_into(place)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process = place.start(cluster, *CONFIG, pause=PAUSE)
    until(lambda: place.log().count(SUBMITTED) == 4, "no duplicates were submitted")
    end(process, place)
    stretches = check(place, cluster, reference)
    assert len(stretches) == 2, "a run was trained by two processes"
    assert [place.record(seed)["attempts"] for seed in (1993, 1996)] == [1, 1]


def test_snakemake_is_killed_and_started_after_its_jobs_have_ended(
    cluster: Cluster, place: Workplace, reference: Reference
) -> None:
    """It removes the results of runs that it never saw end, and does them again in no time."""
    process = place.start(cluster, *CONFIG)
    until(lambda: place.log().count(SUBMITTED) == 2, "nothing was submitted")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not cluster.call("squeue", "-h").stdout.strip(), "the jobs never ended", 300)
    assert len(place.predictions()) == 2
    end(place.start(cluster, *CONFIG), place)
    assert place.log().count(SUBMITTED) == 4, "it saw that they had ended: nothing was tested"
    stretches = check(place, cluster, reference)
    assert len(stretches) == 2, "a finished run was trained again"
    assert [place.record(seed)["attempts"] for seed in (1993, 1996)] == [1, 1]
