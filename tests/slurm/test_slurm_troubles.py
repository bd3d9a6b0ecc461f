"""What befalls jobs on a cluster, on a real SLURM: every run ends as if nothing had been.

A few runs of the toy each time; what hits them hits while they train. In the end all have the bytes
of undisturbed runs, nothing was trained twice that had been kept, and no two processes ever
trained the same run at once.
"""

import os
import signal
from pathlib import Path

import pytest

from tests.helpers.cluster import Cluster
from tests.helpers.workplace import FOUR, Reference, Stretch, Workplace, check, end, repeated, until

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


def test_jobs_that_are_cancelled_asked_to_end_or_requeued_go_on(
    cluster: Cluster, data: Path, tmp_path: Path, reference: Reference
) -> None:
    """Each at the very next step, and the fourth is none the wiser.

    Cancelling, SLURM asks first and kills `KillWait` seconds later, which is time to keep a step.
    Asking to end is what `--signal=TERM@120` of the profile does before a run's time is over.
    """
    place = Workplace(tmp_path / "place", data, **FOUR)
    process = place.start(cluster, *CONFIG, pause=PAUSE / 2, first_look=4)
    cancelled, asked, requeued = (well_into(place, seed) for seed in (1993, 1996, 1997))
    assert cluster.call("scancel", str(cancelled.job)).returncode == 0
    assert cluster.call("scancel", "--signal=TERM", str(asked.job)).returncode == 0
    assert cluster.call("scontrol", "requeue", str(requeued.job)).returncode == 0
    start_now(cluster, str(requeued.job))
    end(process, place)
    stretches = check(place, cluster, reference)
    assert [place.record(seed)["attempts"] for seed in FOUR["seeds"]] == [2, 2, 2, 1]
    assert not repeated(stretches), "a run did not keep the step that it was at"
    jobs = {seed: [s.job for s in stretches if s.seed == seed] for seed in FOUR["seeds"]}
    assert [len(set(of_run)) for of_run in jobs.values()] == [2, 2, 1, 1]
    assert jobs[1997] == [requeued.job, requeued.job]


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
    process = place.start(cluster, *CONFIG, pause=PAUSE / 2)
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
    """Each job says for itself, in Snakemake's notes, that its files are whole."""
    process = place.start(cluster, *CONFIG)
    until(lambda: place.log().count(SUBMITTED) == 2, "nothing was submitted")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not cluster.call("squeue", "-h").stdout.strip(), "the jobs never ended", 300)
    assert len(place.predictions()) == 2
    end(place.start(cluster, *CONFIG), place)
    assert place.log().count(SUBMITTED) == 2, "it did not see that they had ended"
    stretches = check(place, cluster, reference)
    assert len(stretches) == 2, "a finished run was trained again"
    assert [place.record(seed)["attempts"] for seed in (1993, 1996)] == [1, 1]
