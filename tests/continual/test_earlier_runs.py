"""Runs finished by an earlier source stay finished; half a run is never gone on with by other code.

``finished_before.json`` has what the records of seven real runs of the demo said, made at commit
24dcd8c, before the method's files were laid out anew and got new hyperparameters.
"""

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from starprompt.config.methods import check_hyperparameters, load_method
from starprompt.continual import header as header_module
from starprompt.continual.header import RunHeader
from starprompt.files import digest_of
from starprompt.record.record import MethodRecord, StreamRecord
from tests.helpers.continual_toy import (
    ToyHyperparameters,
    ToyLearner,
    ToyStream,
    header_of,
    run_toy,
)

CPU = torch.device("cpu")
BEFORE = json.loads(Path(__file__).with_name("finished_before.json").read_text())
RUNS: dict[str, Any] = BEFORE["runs"]


def header_now(name: str, **changes: Any) -> RunHeader:
    """The header that the same run has today: its hyperparameters are resolved anew."""
    spec, before = load_method(name), RUNS[name]
    spec = spec.model_copy(update={"hyperparameters": spec.resolve("digits") | changes})
    spec.datasets.pop("digits", None)
    hp = check_hyperparameters(spec, "digits")
    return RunHeader(
        config="another",
        method=MethodRecord(
            name=spec.name, title="t", learner=spec.learner, hyperparameters=hp.model_dump()
        ),
        stream=StreamRecord(**BEFORE["stream"]),
        backbones=before["backbones"],
        keys=before["keys"],
        settings=before["settings"],
        neutral=hp.neutral(),
    )


def record_of(name: str) -> Any:
    return SimpleNamespace(versions=RUNS[name]["versions"], fingerprint=RUNS[name]["fingerprint"])


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The libraries of those runs, and today's version of the project itself."""
    versions = dict(RUNS["starprompt"]["versions"]) | {"starprompt": "99"}
    monkeypatch.setattr(header_module, "versions", lambda: dict(versions))
    return versions


@pytest.mark.parametrize("name", RUNS)
def test_a_run_finished_before_is_finished(name: str, libraries: dict[str, str]) -> None:
    assert header_now(name).is_of_earlier_source(record_of(name), CPU)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "constant"},
        {"head_start": "truncated_normal"},
        {"replay_order": "same"},
        {"lr": 0.02},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_values_are_another_run(changes: dict[str, Any], libraries: dict[str, str]) -> None:
    header = header_now("starprompt", **changes)
    assert not header.is_of_earlier_source(record_of("starprompt"), CPU)
    assert header.fingerprint(CPU) != header_now("starprompt").fingerprint(CPU)


def test_other_libraries_devices_and_sources_are_another_run(
    libraries: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    header, record = header_now("starprompt"), record_of("starprompt")
    assert not header.is_of_earlier_source(record, torch.device("cuda"))
    assert not header.is_of_earlier_source(record_of("finetune"), CPU)
    with monkeypatch.context() as patch:
        patch.setitem(libraries, "torch", "0.1")
        assert not header.is_of_earlier_source(record, CPU)
    monkeypatch.setattr(header_module, "EARLIER_SOURCES", {})
    assert not header.is_of_earlier_source(record, CPU)


def test_a_neutral_default_is_not_in_the_fingerprint() -> None:
    """It is as if the hyperparameter were not there; its other value is."""

    class Grown(ToyHyperparameters):
        neutral_defaults = frozenset({"added"})
        added: int = 0

    stream: Any = ToyStream()
    old = header_of(stream, ToyLearner, ToyHyperparameters(), 1993)
    fingerprints = []
    for value in (0, 1):
        hp = Grown(added=value)
        new = header_of(stream, ToyLearner, hp, 1993)
        assert new.method.hyperparameters["added"] == value, "the record says it nevertheless"
        named = RunHeader(**{**vars(new), "neutral": hp.neutral()})
        fingerprints.append(named.fingerprint(CPU))
    assert fingerprints[0] == old.fingerprint(CPU) != fingerprints[1]


def test_the_runner_takes_such_a_run_as_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where the source is known to give the same; else the run is made anew."""
    hp = ToyHyperparameters()
    header = header_of(ToyStream(), ToyLearner, hp, 1993)
    earlier = header._fingerprint("cpu", "an earlier source", header_module.versions())
    first = run_toy(tmp_path, fingerprint=earlier)
    module = ToyLearner.__module__
    monkeypatch.setattr(header_module, "EARLIER_SOURCES", {module: ("an earlier source",)})
    again = run_toy(tmp_path, fingerprint=None)
    assert again.finished == first.finished and again.fingerprint == earlier
    monkeypatch.setattr(header_module, "EARLIER_SOURCES", {})
    anew = run_toy(tmp_path, fingerprint=None)
    assert anew.fingerprint == header.fingerprint(CPU) != earlier


def test_an_interrupted_run_of_other_code_begins_anew_with_a_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class StopHereError(Exception):
        pass

    class Stopping(ToyLearner):
        def begin_task(self, task: Any) -> None:
            if task.index == 2:
                raise StopHereError
            super().begin_task(task)

    with pytest.raises(StopHereError):
        run_toy(tmp_path, Stopping, fingerprint="before")
    with caplog.at_level(logging.WARNING):
        record = run_toy(tmp_path, fingerprint="after")
    assert record.attempts == 1
    assert "left by other code or settings: the run begins anew" in caplog.text


def test_the_fingerprint_still_holds_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    header = header_of(ToyStream(), ToyLearner, ToyHyperparameters(), 1993)
    now = header.fingerprint(CPU)
    monkeypatch.setattr(header_module, "source_digest", lambda module: digest_of(module))
    assert header.fingerprint(CPU) != now
