"""A run's fingerprint: what makes another run of it, and what does not."""

from typing import Any

import pytest
import torch

from starprompt.continual import header as header_module
from starprompt.continual.header import RunHeader
from starprompt.files import digest_of
from tests.helpers.continual_toy import (
    ToyHyperparameters,
    ToyLearner,
    ToyStream,
    header_of,
)
from tests.helpers.run_headers import header_now, record_of

CPU = torch.device("cpu")


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


def test_the_fingerprint_still_holds_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    header = header_of(ToyStream(), ToyLearner, ToyHyperparameters(), 1993)
    now = header.fingerprint(CPU)
    monkeypatch.setattr(header_module, "source_digest", lambda module: digest_of(module))
    assert header.fingerprint(CPU) != now
