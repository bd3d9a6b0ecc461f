"""The Snakemake workflow: what it plans, what it refuses, what it does again, what survives kills.

Whole workflows run in a copy of the repository whose command line makes up its numbers
(``fake_cli``); the rules, the configuration, tables and figures are the real ones.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from paper_figures.figures.paper import KINDS
from starprompt.config.experiment import Config, Run, load_config
from starprompt.grid import jobs as grid
from tests.helpers.paths import REPOSITORY
from tests.helpers.workflows import (
    CONFIG,
    copy_of_repository,
    edit,
    planned,
    snakemake,
    start,
    trained,
)

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which nothing has run yet."""
    return copy_of_repository(tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which the small grid has run, started twice at the same time."""
    folder = copy_of_repository(tmp_path_factory.mktemp("finished"))
    first = start(folder)
    deadline = time.monotonic() + 60
    while not (folder / ".snakemake/starprompt.unfinished").exists():
        assert time.monotonic() < deadline, "the first never began"
        time.sleep(0.05)
    second = start(folder)
    for process in (first, second):
        assert process.wait(timeout=240) == 0, (folder / "workflow.log").read_text()
    return folder


def test_the_demo_is_planned(repository: Path) -> None:
    done = snakemake(repository, "-n", "--configfile", "config/demo.yaml")
    assert done.returncode == 0, done.stdout
    demo = load_config(REPOSITORY / "config/demo.yaml")
    keys = {grid.load_method(m).keys for m in demo.methods} - {None, *demo.methods}
    assert len(trained(done.stdout)) == (len(demo.methods) + len(keys)) * len(demo.seeds)
    assert planned(done.stdout) == {
        "prepare": 1,
        "embed": 1,
        "train_1993_1996_1997": len(demo.methods) + len(keys),
        "tables": 1,
        "figures": 1,
        "all": 1,
    }
    assert not (repository / "results").exists()


def test_without_a_configfile_the_papers_grid_is_meant(repository: Path) -> None:
    done = snakemake(repository, "-n", "--resources", "gpu=4")
    assert done.returncode == 0, done.stdout
    paper = load_config(REPOSITORY / "config/paper.yaml")
    counts = planned(done.stdout)
    assert counts["prepare"] == counts["embed"] == len(paper.datasets)
    assert counts["train"] >= len(list(paper.runs()))
    assert "results/demo" not in done.stdout


def test_a_configfile_is_not_merged_into_the_papers(repository: Path) -> None:
    """A key that only paper.yaml gives must keep its default, not the paper's value."""
    done = snakemake(repository, "-n", "--configfile", "config/small.yaml")
    assert done.returncode == 0, done.stdout
    assert "--threads 1 " in done.stdout and "gpu=0" in done.stdout
    assert planned(done.stdout)["train"] == 6  # starprompt's keys are made though not shown


def test_one_run_can_be_asked_for_by_its_file(repository: Path) -> None:
    target = "results/runs/small/digits/joint/seed1996/record.json"
    done = snakemake(repository, "-n", target, "--configfile", "config/small.yaml")
    assert trained(done.stdout) == {("joint", "1996")}, done.stdout
    assert "embed" not in planned(done.stdout)  # a method without CLIP waits for no features


def test_the_shipped_weights_can_be_made_again(repository: Path) -> None:
    done = snakemake(repository, "-n", "tiny_pair", "--configfile", "config/demo.yaml")
    assert planned(done.stdout) == {"tiny_pair": 1}, done.stdout
    assert "weights make-tiny --output results/tiny-pair" in done.stdout


def test_lint_finds_nothing(repository: Path) -> None:
    done = snakemake(repository, "--lint", "--configfile", "config/demo.yaml")
    assert done.returncode == 0, done.stdout
    assert "Congratulations" in done.stdout


def test_seeds_share_jobs_as_the_experiment_says(repository: Path) -> None:
    seeds = ["seeds=[1993,1996,1997]", "seeds_per_job=2"]
    done = snakemake(repository, "-n", "--configfile", "config/small.yaml", "--config", *seeds)
    assert done.returncode == 0, done.stdout
    jobs = planned(done.stdout)
    assert jobs["train_1993_1996"] == jobs["train_1997"] == 3
    assert len(trained(done.stdout)) == 9
    two = grid.Grid(Config.model_validate(CONFIG | {"seeds_per_job": 2}))
    assert two.job_of(Run("digits", "joint", 1996)) == ("train_1993_1996", ["1993", "1996"])
    one_run, two_runs = (two.run_resources("digits", "joint", runs=n) for n in (1, 2))
    assert two_runs.runtime == 2 * one_run.runtime and two_runs.mem_mb == one_run.mem_mb


def test_methods_that_make_keys_for_others_go_first(repository: Path) -> None:
    done = snakemake(repository, "-n", "--configfile", "config/demo.yaml")
    blocks = re.findall(r"^rule (train\w*):\n((?:    .*\n)+)", done.stdout, flags=re.MULTILINE)
    of_method = {
        method: int(re.findall(r"priority: (\d+)", block)[0])
        for _, block in blocks
        for method in re.findall(r"output: .*/([\w-]+)/seed\d+/record.json", block)
    }
    first, second, *others = sorted(of_method, key=of_method.__getitem__, reverse=True)
    assert (first, second) == ("starprompt-first-stage", "starprompt"), "it waits for those keys"
    assert others == ["joint", "finetune", "linear-probe", "clip-zero-shot"], "longest first"


def test_jobs_name_no_path_outside_the_folder(repository: Path) -> None:
    """What runs here runs wherever the folder is mounted; the data root is its own by default."""
    done = snakemake(repository, "-n", "-p", "all", "ablations", "--configfile", "config/demo.yaml")
    assert done.returncode == 0, done.stdout
    shown = re.compile(r"^ *(input|output|log|benchmark|shell command|python)\b.*", re.I | re.M)
    lines = [found[0] for found in shown.finditer(done.stdout)]
    assert len(lines) > 100
    outside = [line for line in lines if re.search(r"(^|[\s=,'\"])(/|~|\.\./)", line)]
    assert not outside
    for file in [*(repository / "workflow").rglob("*.smk"), *(repository / "config").rglob("*")]:
        if file.is_file():
            paths = re.findall(r"(?:^|[\s='\"(])/[\w.-]+/[\w./-]*", file.read_text())
            assert not paths, f"{file}: {paths}"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("methods", "[starpromt]", "There is no method named 'starpromt'; did you mean"),
        ("seeds", "[1993, one]", "config/small.yaml with --config is not valid: seeds.1: input"),
    ],
)
def test_mistakes_are_refused_in_one_sentence(
    repository: Path, key: str, value: str, sentence: str
) -> None:
    done = snakemake(
        repository, "-n", "--configfile", "config/small.yaml", "--config", f"{key}={value}"
    )
    assert done.returncode == 1
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout


def test_everything_promised_is_there(finished: Path) -> None:
    results = finished / "results/small"
    tables = ("accuracy", "metrics-digits", "cost-digits", "published")
    assert {p.name for p in (results / "tables").iterdir()} == {
        f"{table}.{form}" for table in tables for form in grid.TABLE_FORMS
    } | {
        "runs.csv",
        *(f"appendix.{form}" for form in grid.APPENDIX_FORMS),
        # what a CSV was made from stands beside it
        *(f"{table}.csv.json" for table in (*tables, "runs")),
    }
    assert len(list((results / "figures").iterdir())) == 2 * len(KINDS)
    for folder in ("logs", "benchmarks"):
        assert len(list((finished / "results" / folder / "small/train").rglob("seed*"))) == 6
    assert yaml.safe_load((results / "config.yaml").read_text())["seeds"] == [1993, 1996]


def test_a_second_call_runs_nothing(finished: Path) -> None:
    before = (finished / "calls.log").read_text()
    done = snakemake(finished, "--configfile", "config/small.yaml")
    assert "Nothing to be done" in done.stdout
    assert (finished / "calls.log").read_text() == before


def replanned(folder: Path, path: str, change: Callable[[dict], object]) -> str:
    """What a dry run would do after an edit, which is taken back."""
    before = edit(folder / path, change)
    try:
        done = snakemake(folder, "-n", "--configfile", "config/small.yaml")
    finally:
        (folder / path).write_text(before)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_an_edited_hyperparameter_runs_that_method_alone(finished: Path) -> None:
    output = replanned(
        finished,
        "config/methods/starprompt.yaml",
        lambda method: method["datasets"]["digits"].update(epochs=3),
    )
    assert trained(output) == {("starprompt", "1993"), ("starprompt", "1996")}
    assert planned(output) == {"train": 2, "tables": 1, "figures": 1, "all": 1}


def test_an_edited_first_stage_runs_what_uses_its_keys(finished: Path) -> None:
    output = replanned(
        finished,
        "config/methods/starprompt-first-stage.yaml",
        lambda method: method["datasets"]["digits"].update(epochs=3),
    )
    assert {method for method, _ in trained(output)} == {"starprompt", "starprompt-first-stage"}


def test_an_edited_title_makes_tables_and_figures_alone(finished: Path) -> None:
    output = replanned(
        finished,
        "config/methods/finetune.yaml",
        lambda method: method["variants"]["joint"].update(title="Upper bound"),
    )
    assert planned(output) == {"tables": 1, "figures": 1, "all": 1}


def test_an_added_seed_runs_that_seed_alone(finished: Path) -> None:
    output = replanned(
        finished, "config/small.yaml", lambda config: config.update(seeds=[1993, 1996, 1997])
    )
    assert {seed for _, seed in trained(output)} == {"1997"}
    assert planned(output)["train"] == 3


def test_what_no_result_depends_on_runs_nothing(finished: Path) -> None:
    """Another data set's hyperparameters, the device, the number of threads."""
    before = edit(
        finished / "config/small.yaml", lambda config: config.update(device="cpu", threads=2)
    )
    try:
        output = replanned(
            finished,
            "config/methods/starprompt.yaml",
            lambda method: method["datasets"]["cifar100"].update(epochs=3),
        )
    finally:
        (finished / "config/small.yaml").write_text(before)
    assert planned(output) == {}


def test_a_changed_run_that_fails_brings_no_older_results_back(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    record = folder / "results/runs/small/digits/joint/seed1993/record.json"
    assert record.is_file()
    edit(
        folder / "config/methods/finetune.yaml",
        lambda method: method["variants"]["joint"]["datasets"]["digits"].update(epochs=3),
    )
    (folder / "failing").write_text("joint")
    arguments = ["--configfile", "config/small.yaml", "--keep-going"]
    assert snakemake(folder, *arguments).returncode != 0
    assert not record.exists()
    planned_again = snakemake(folder, "-n", *arguments)
    assert {("joint", "1993"), ("joint", "1996")} == trained(planned_again.stdout)
    (folder / "failing").unlink()
    assert snakemake(folder, *arguments).returncode == 0
    assert record.is_file()
    assert planned(snakemake(folder, "-n", *arguments).stdout) == {}


@pytest.mark.parametrize(
    ("removed", "again"),
    [
        ("joint/seed1993", {("joint", "1993")}),
        ("joint/seed1996/predictions.parquet", {("joint", "1996")}),
        ("starprompt/seed1993/record.json", {("starprompt", "1993")}),
        ("starprompt/seed1996/diagnostics.safetensors", {("starprompt", "1996")}),
        (
            "starprompt-first-stage/seed1993",
            {("starprompt-first-stage", "1993"), ("starprompt", "1993")},
        ),
    ],
)
def test_a_deleted_run_is_trained_again_though_its_tables_are_there(
    finished: Path, tmp_path: Path, removed: str, again: set[tuple[str, str]]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    path = folder / "results/runs/small/digits" / removed
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    arguments = ["--configfile", "config/small.yaml"]
    assert trained(snakemake(folder, "-n", *arguments).stdout) == again
    done = snakemake(folder, *arguments)
    assert done.returncode == 0, done.stdout
    assert planned(snakemake(folder, "-n", *arguments).stdout) == {}


@pytest.mark.parametrize("ahead", ["data/prepared/digits/manifest.json", "keys"])
def test_a_clock_that_runs_ahead_costs_no_result(
    finished: Path, tmp_path: Path, ahead: str
) -> None:
    """Another machine prepared the data, or trained the keys, and its clock is a day ahead."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    keys = "results/runs/small/digits/starprompt-first-stage/seed1993/checkpoint.safetensors"
    file = folder / (keys if ahead == "keys" else ahead)
    # Snakemake takes a small file of the same content for the same file, whatever its time.
    file.write_bytes(file.read_bytes() + b" ")
    tomorrow = time.time() + 86_400
    os.utime(file, (tomorrow, tomorrow))
    arguments = ["--configfile", "config/small.yaml"]
    done = snakemake(folder, *arguments)
    assert done.returncode == 0, done.stdout
    assert len(list((folder / "results/runs").rglob("record.json"))) == 6
    assert planned(snakemake(folder, "-n", *arguments).stdout) == {}


def test_overrides_of_the_command_line_reach_the_jobs(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    overrides = ["--config", "seeds=[1997]", "methods=[joint]", "name=other"]
    done = snakemake(folder, "--configfile", "config/small.yaml", *overrides)
    assert done.returncode == 0, done.stdout
    assert (folder / "calls.log").read_text().count("run ") == 7  # six of before, one now
    effective = yaml.safe_load((folder / "results/other/config.yaml").read_text())
    assert effective["seeds"] == [1997]
    assert (folder / "results/runs/other/digits/joint/seed1997/record.json").is_file()
    text = (folder / "results/other/tables/accuracy.md").read_text()
    assert "One seed (1997)" in text


def test_the_report_shows_tables_and_figures_with_captions(finished: Path) -> None:
    """By the very line that README has, of this experiment."""
    (line,) = re.findall(r"^ +snakemake (.* --report \S+)", README, flags=re.MULTILINE)
    done = snakemake(finished, *line.replace("config/demo.yaml", "config/small.yaml").split())
    assert done.returncode == 0, done.stdout
    html = (finished / line.split()[-1]).read_text()
    assert "Which task's prompts are chosen" in html.replace("&#x27;", "'").replace("\\u0027", "'")
    assert "over the seeds 1993, 1996" in html.replace("\n", " ")
    assert "Under <em>Results</em>" in html.replace("\\u003c", "<").replace("\\u003e", ">")
    forms = set(re.findall(r'"form": "([^"]*)"', html))
    assert sorted(forms) == ["on screen (PNG)", "print (PDF)", "table"]
    assert "text/html" in html and not re.search(r'"name": "[^"]*\.(csv|md|tex)"', html)


def test_comparison_and_page_are_targets_and_made_once(finished: Path) -> None:
    small = ("--configfile", "config/small.yaml")
    done = snakemake(finished, "compare", "report_page", *small)
    assert done.returncode == 0, done.stdout
    page = (finished / "results/small/report.html").read_text()
    assert "<h2>Accuracy</h2>" in page and "Seed 1996" in page
    assert (finished / "results/small/findings.md").is_file()
    again = snakemake(finished, "-n", "compare", "report_page", *small)
    assert planned(again.stdout).keys() <= {"compare"}, again.stdout
    (finished / "results/small/report.html").unlink()
    again = snakemake(finished, "-n", "report_page", *small)
    assert planned(again.stdout) == {"report_page": 1}


def test_killed_at_random_moments_it_ends_with_the_same_tables(
    finished: Path, tmp_path: Path
) -> None:
    folder = copy_of_repository(tmp_path / "copy")
    moments = random.Random(0)
    kills = 0
    for attempt in range(4):
        process = start(folder)
        try:
            # Half the times the jobs die with it, half the times they go on without it.
            process.wait(timeout=2 + 6 * moments.random())
            break
        except subprocess.TimeoutExpired:
            if attempt % 2:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.wait()
            kills += 1
    process = start(folder)
    log = folder / "workflow.log"
    assert process.wait(timeout=240) == 0, log.read_text()
    assert kills > 0, "it was never killed: the test proves nothing"
    for table in ("accuracy", "metrics-digits"):
        for form in ("csv", "md", "tex"):
            name = f"results/small/tables/{table}.{form}"
            assert (folder / name).read_bytes() == (finished / name).read_bytes()
    assert not list(folder.rglob("*.part"))
    # And there is nothing left to do for a plain Snakemake, which would trip over a stale lock.
    assert "Nothing to be done" in snakemake(folder, "--configfile", "config/small.yaml").stdout


def test_two_starts_at_once_do_everything_once(finished: Path) -> None:
    assert "waiting until it ends" in (finished / "workflow.log").read_text()
    runs = [line for line in (finished / "calls.log").read_text().splitlines() if "run " in line]
    assert len(runs) == len(set(runs)) == 6


def test_the_marks_of_a_foreign_snakemake_are_respected(finished: Path, tmp_path: Path) -> None:
    """It may live on another machine of a shared file system."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "results/small/tables")
    locks = folder / ".snakemake/locks"
    locks.mkdir(exist_ok=True)  # Snakemake removes it with its own marks
    (locks / "0.output.lock").write_text("results/small/tables/accuracy.csv\n")
    process = start(folder)
    assert process.wait(timeout=120) != 0
    assert "--unlock" in (folder / "workflow.log").read_text()
    assert not (folder / "results/small/tables").exists()
