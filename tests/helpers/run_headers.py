"""Headers of runs that were finished by an earlier source."""

import json
from types import SimpleNamespace
from typing import Any

from starprompt.config.methods import check_hyperparameters, load_method
from starprompt.continual.header import RunHeader
from starprompt.record.record import MethodRecord, StreamRecord
from tests.helpers.paths import REPOSITORY

BEFORE = json.loads((REPOSITORY / "tests" / "continual" / "finished_before.json").read_text())
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
