"""Runs finished by an earlier source stay finished; half a run is never gone on with by other code.

``finished_before.json`` has what the records of seven real runs of the demo said, made at commit
24dcd8c, before the method's files were laid out anew and got new hyperparameters.
"""

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from starprompt.continual import header as header_module
from starprompt.continual.earlier_sources import EARLIER_SOURCES
from tests.helpers.continual_toy import (
    ToyHyperparameters,
    ToyLearner,
    ToyStream,
    header_of,
    run_toy,
)
from tests.helpers.run_headers import RUNS, header_now, record_of

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", RUNS)
def test_a_run_finished_before_is_finished(name: str, libraries: dict[str, str]) -> None:
    assert header_now(name).is_of_earlier_source(record_of(name), CPU)


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
    assert "written by other code or with other settings: the run starts again" in caplog.text


def test_a_portable_run_of_an_earlier_source_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, libraries: dict[str, str]
) -> None:
    """Its bytes are promised, and sources that round otherwise count as earlier ones too."""
    native, record = header_now("starprompt"), record_of("starprompt")
    portable = replace(native, settings=native.settings | {"numerics": "portable"})
    sources = EARLIER_SOURCES["starprompt.method.starprompt"]
    found = header_module.versions()
    of_earlier = [portable._fingerprint("cpu", source, found) for source in sources]
    for fingerprint in of_earlier:
        there = SimpleNamespace(versions=record.versions, fingerprint=fingerprint)
        assert not portable.is_of_earlier_source(there, CPU)
    assert native.is_of_earlier_source(record, CPU)
