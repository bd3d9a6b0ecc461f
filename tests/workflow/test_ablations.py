"""The ablations' part of the workflow: what it plans, what it shares, what it does again."""

import shutil
from pathlib import Path

import pytest
import yaml

from starprompt.config.experiment import load_config
from starprompt.config.methods import load_method
from tests.helpers.workflows import CONFIG, copy_of_repository, edit, planned, snakemake, trained

SMALL = {
    **CONFIG,
    "methods": ["starprompt", "clip-zero-shot", "finetune"],
    "ablations": ["starprompt-prefix", "starprompt-gaussian"],
    "seeds": [1993],
}
ARGUMENTS = ("ablations", "--configfile", "config/small.yaml")


def prefix_of(method: dict) -> dict:
    """A variant's entry in the full method's file."""
    return method["variants"]["starprompt-prefix"]


def small_copy(folder: Path) -> Path:
    copy_of_repository(folder)
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "config/small.yaml").write_text(yaml.safe_dump(SMALL))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which the small grid's ablations have run."""
    folder = small_copy(tmp_path_factory.mktemp("ablations"))
    done = snakemake(folder, *ARGUMENTS)
    assert done.returncode == 0, done.stdout
    return folder


def test_the_demos_ablations_share_their_first_stages(tmp_path: Path) -> None:
    folder = small_copy(tmp_path)
    done = snakemake(folder, "ablations", "-n", "--configfile", "config/demo.yaml")
    assert done.returncode == 0, done.stdout
    demo = load_config(Path("config/demo.yaml"))
    variants = {"starprompt", "clip-zero-shot", *demo.ablations}
    firsts = {str(load_method(m).keys) for m in variants if load_method(m).keys}
    assert len(firsts) < len(variants) / 2
    runs = trained(done.stdout)
    assert {method for method, _ in runs} == variants | firsts  # and no other competitor
    assert planned(done.stdout) == {
        "prepare": 1,
        "embed": 1,
        "train_1993_1996_1997": len(variants | firsts),
        "analyse": 1,
        "ablation_pages": 1,
        "ablations": 1,
    }


def test_everything_promised_is_there_and_a_second_call_runs_nothing(finished: Path) -> None:
    assert (finished / "results/small/ablations/findings.md").is_file()
    assert len(list((finished / "results/small/ablations/figures").iterdir())) == 14
    done = snakemake(finished, *ARGUMENTS)
    assert "Nothing to be done" in done.stdout


def test_a_deleted_run_of_a_variant_is_trained_again(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "results/runs/small/digits/starprompt-gaussian/seed1993")
    done = snakemake(folder, "-n", *ARGUMENTS)
    assert trained(done.stdout) == {("starprompt-gaussian", "1993")}


@pytest.mark.parametrize(
    ("path", "change", "jobs"),
    [
        # a threshold is judged anew, and nothing trains
        (
            "config/small.yaml",
            lambda config: config.update(signatures={"replay_gap": 0.5}),
            {"analyse": 1, "ablation_pages": 1, "ablations": 1},
        ),
        (
            "config/methods/starprompt.yaml",
            lambda method: prefix_of(method)["hyperparameters"].update(prefix_length=3),
            {"train": 1, "analyse": 1, "ablation_pages": 1, "ablations": 1},
        ),
        (
            "config/methods/starprompt.yaml",
            lambda method: prefix_of(method).update(title="Prefix"),
            {"ablation_pages": 1, "ablations": 1},
        ),
    ],
)
def test_only_what_depends_on_an_edit_is_done_again(
    finished: Path, path: str, change, jobs: dict[str, int]
) -> None:
    before = edit(finished / path, change)
    try:
        done = snakemake(finished, *ARGUMENTS, "-n")
    finally:
        (finished / path).write_text(before)
    assert planned(done.stdout) == jobs, done.stdout


def test_an_experiment_without_ablations_has_no_such_target(tmp_path: Path) -> None:
    folder = small_copy(tmp_path)
    shutil.copy("config/demo-quick.yaml", folder / "config/demo-quick.yaml")
    done = snakemake(folder, "ablations", "-n", "--configfile", "config/demo-quick.yaml")
    assert done.returncode == 1
    assert "ablations" in done.stdout and "Traceback" not in done.stdout
