"""Whose fault a difference is: other libraries are named, equal ones make it a failure."""

from pathlib import Path

import pytest

from starprompt.analysis import digests as measured
from starprompt.analysis.digests import (
    ROUNDING,
    Digests,
    RunDigest,
    TaskDigest,
    read_digests,
    write_digests,
)
from starprompt.config.experiment import Config, load_config
from starprompt.errors import UserError
from starprompt.reporting import digests
from starprompt.reporting.digests import compare_digests
from tests.helpers.paths import REPOSITORY

SHIPPED = sorted((REPOSITORY / "config" / "digests").glob("*.json"))


NAME = "d/m/seed1"


def found(predictions: str = "a", torch: str = "1", *, tasks: int = 1, name: str = NAME) -> Digests:
    task = TaskDigest(predictions=predictions * 16, scores="5" * 16)
    run = RunDigest(file="f" * 64, writer="w", final_average_accuracy=50.0, tasks=[task] * tasks)
    versions = dict.fromkeys(ROUNDING, "1") | {"torch": torch}
    return Digests(experiment="demo-quick", versions=versions, runs={name: run})


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A portable experiment whose runs have the digests of :func:`found`, kept as such."""
    monkeypatch.setattr(digests, "DIGESTS", tmp_path)
    monkeypatch.setattr(measured, "digest_runs", lambda name, folders: found())
    plain = load_config(REPOSITORY / "config" / "demo-quick.yaml")
    config = plain.model_copy(update={"numerics": "portable"})
    assert compare_digests(config, write=True) == (
        True,
        [f"wrote {tmp_path / 'demo-quick.json'}"],
    )
    return config


def test_equal_runs_pass(config: Config) -> None:
    same, (line,) = compare_digests(config)
    assert same
    assert "3 runs are, byte for byte, those of" in line  # two methods and the keys of one


def test_other_predictions_of_equal_libraries_fail(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "digest_runs", lambda name, folders: found("b"))
    same, lines = compare_digests(config)
    assert not same
    assert "d/m/seed1: predicted classes differ after task 1" in lines[1]
    assert len(lines) == 2


def test_other_predictions_of_other_libraries_are_said_and_pass(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "digest_runs", lambda name, folders: found("b", torch="2"))
    same, lines = compare_digests(config)
    assert same
    assert "torch 2 (not 1)" in lines[-1]


@pytest.mark.parametrize(
    "other",
    [
        found(torch="2", name="d/m/seed2"),  # a missing and a superfluous run
        found(torch="2", tasks=2),
        found("b", torch="unknown"),
        found("b", torch="not installed"),
        found("b", torch=""),
    ],
    ids=["runs", "evaluations", "unknown", "not installed", "empty"],
)
def test_what_rounding_cannot_explain_fails_under_other_libraries(
    config: Config, monkeypatch: pytest.MonkeyPatch, other: Digests
) -> None:
    monkeypatch.setattr(measured, "digest_runs", lambda name, folders: other)
    same, lines = compare_digests(config)
    assert not same
    if other.versions["torch"] == "2":
        assert lines[-1].startswith("This machine has torch 2 (not 1), but rounding does not")
    else:
        assert lines[-1] == "The versions of torch are not known on both sides."


def test_digests_of_another_experiment_are_refused(config: Config, tmp_path: Path) -> None:
    named = found().model_copy(update={"experiment": "demo"})
    write_digests(tmp_path / "demo-quick.json", named)
    with pytest.raises(UserError, match="holds the digests of 'demo', not of demo-quick"):
        compare_digests(config)


def test_native_experiments_are_refused() -> None:
    with pytest.raises(UserError, match="demo-quick has numerics: native"):
        compare_digests(load_config(REPOSITORY / "config" / "demo-quick.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_digests_are_those_of_a_shipped_experiment(path: Path) -> None:
    kept = read_digests(path)
    assert kept.experiment == path.stem
    assert "unknown" not in kept.versions.values()
    config = load_config(REPOSITORY / "config" / f"{path.stem.removesuffix('-portable')}.yaml")
    runs = {
        f"{dataset}/{method}/seed{seed}"
        for dataset in config.datasets
        for method in digests.with_keys(config.methods)
        for seed in config.seeds
    }
    assert kept.runs.keys() == runs


def test_the_quick_demo_that_ci_runs_has_digests() -> None:
    assert "demo-quick-portable" in [path.stem for path in SHIPPED]
