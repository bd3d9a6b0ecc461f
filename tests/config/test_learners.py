"""Methods that hold what they should not: one sentence, with file and key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from starprompt.backbones.names import parse_vit
from starprompt.budget import report
from starprompt.config import methods
from starprompt.config.experiment import load_config
from starprompt.config.methods import check_hyperparameters, learner_class, load_method
from starprompt.errors import UserError

PLAIN = {
    "title": "Plain",
    "learner": "baselines.lwf:LwF",
    "description": "A method.",
    "group": "prompt",
    "hyperparameters": {"lr": 0.1, "epochs": 5},
}
MODULE = """
import torch
from pydantic import BaseModel
from starprompt.continual.learner import BaseHyperparameters, Learner

class NoPredict(Learner):
    def setup(self): pass
    def state_dict(self): return {}
    def load_state_dict(self, state): pass
    def parameter_counts(self): return {}

class NoLearner: ...
a_function = len
"""
Writer = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    monkeypatch.setattr(methods, "METHODS", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "some_learners.py").write_text(MODULE)
    (tmp_path / "fails_at_import.py").write_text("import json\nraise OSError('no\\nluck')\n")
    (tmp_path / "needs_a_library.py").write_text("import there_is_no_such_library\n")
    (tmp_path / "ends_python.py").write_text("import sys\nsys.exit(3)\n")

    def written(**changes: Any) -> None:
        (tmp_path / "plain.yaml").write_text(yaml.safe_dump({**PLAIN, **changes}))

    return written


@pytest.mark.parametrize(
    ("learner", "sentence"),
    [
        ("baselines.nothing:X", r"plain.yaml: learner: there is no baselines.nothing:X"),
        ("baselines.lwf:Lwff", r"plain.yaml: learner: there is no baselines.lwf:Lwff"),
        ("some_learners:NoPredict", r"some_learners:NoPredict has no predict"),
        ("some_learners:NoLearner", r"is not a learner; derive its class from Learner"),
        ("some_learners:a_function", r"is not a learner"),
        ("some_learners:Learner", r"is not a learner|has no "),
        (
            "fails_at_import:X",
            r"be imported: OSError: no luck \(.*fails_at_import.py, line 2",
        ),
        (
            "needs_a_library:X",
            r"be imported: ModuleNotFoundError: No module named 'there_is",
        ),
        ("ends_python:X", r"cannot be imported: SystemExit: 3"),
    ],
)
def test_a_learner_that_is_none(write: Writer, learner: str, sentence: str) -> None:
    write(learner=learner)
    with pytest.raises(UserError, match=sentence) as caught:
        learner_class(load_method("plain"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"lr": "0.1"}, "lr"),
        ({"lr": True}, "lr"),
        ({"lr": -1}, "lr"),
        ({"epochs": 2.5}, "epochs"),
        ({"epochs": None}, "epochs"),
        ({"epochs": [5]}, "epochs"),
        ({"epoch": 5}, "epoch"),
        ({"lr": float("inf")}, "lr"),
        ({"lr": float("nan")}, "lr"),
    ],
)
def test_a_value_is_taken_as_it_stands_or_refused(values: dict[str, Any], key: str) -> None:
    spec = load_method("lwf").model_copy(update={"hyperparameters": values, "datasets": {}})
    with pytest.raises(UserError, match=rf"lwf.yaml \(hyperparameters for digits\).*: {key}: "):
        check_hyperparameters(spec, "digits")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"keys": "plain"}, r"plain.yaml: keys: plain makes no keys"),
        ({"keys": "nobody"}, r"no method \(under `keys` in .*plain.yaml\) named 'nobody'"),
        ({"keys": 5}, "keys: .*string"),
        ({"uses": "vit"}, "uses: .*array"),
        ({"rehearsal": 1}, "rehearsal: .*boolean"),
        ({"title": 5}, "title: .*string"),
        ({"title": " "}, "title: it is empty"),
        ({"title": "a\x1b[31m"}, "title: it contains the character"),
        ({"title": "a" * 5000}, "title: .* at most 300 characters"),
        ({"description": "a\nb"}, "description: it contains the character"),
        ({"datasets": {"digits": None}}, r"datasets.digits must be a mapping"),
        ({"hyperparameters": [1]}, r"hyperparameters must be a mapping"),
        ({"search": {"lr": {"low": 1, "high": "x"}}}, r"search.lr.high: "),
        ({"cost": {"trained": "9**9**9"}}, None),
        (
            {"cost": {"trained": "__import__('os')"}},
            r"cost.trained.*not allowed in an arithmetic expression",
        ),
        ({"cost": {"trained": "1 +"}}, r"cost.trained.*not an arithmetic expression"),
        (
            {"cost": {"trained": "(" * 300 + "1" + ")" * 300}},
            r"cost.trained.*not an arithmetic expression",
        ),
        ({"cost": {"phases": [{"name": "training", "vit": "forward"}]}}, r"vit.*list of passes"),
        ({"cost": {"test": 5}}, r"cost.test: must be a mapping"),
    ],
)
def test_a_methods_file(write: Writer, changes: dict[str, Any], sentence: str | None) -> None:
    write(**changes)
    if sentence is None:
        load_method("plain")
        return
    with pytest.raises(UserError, match=sentence) as caught:
        load_method("plain")
    assert "\n" not in str(caught.value)


def test_a_cost_of_a_network_that_is_not_used(write: Writer) -> None:
    write(uses=["vit"], cost={"phases": [{"name": "training", "clip": 1}]})
    experiment = {"title": "T", "datasets": ["digits"], "methods": ["plain"], "seeds": [1]}
    config = load_config({"name": "x", **experiment})
    with pytest.raises(UserError, match=r"plain.yaml: cost: the phase training computes with clip"):
        report.forecast(config)


def test_a_sentence_stays_one_whatever_was_written(write: Writer) -> None:
    write(hyperparameters={"epochs": "x" * 5000, "lr": ["y"] * 5000})
    with pytest.raises(UserError) as caught:
        check_hyperparameters(load_method("plain"), "digits")
    assert len(str(caught.value)) < 800
    with pytest.raises(
        UserError, match=r"no ViT named 'zz'; there are: .* and [0-9]+ more"
    ) as caught:
        parse_vit("zz")
    assert len(str(caught.value)) < 3000
