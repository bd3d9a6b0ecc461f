"""Experiments: which methods and variants they name, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from starprompt.config.experiment import Config, load_config
from starprompt.config.methods import variants_of
from starprompt.errors import UserError


def test_all_ablations_are_every_setting_once_and_a_part_is_its_variants() -> None:
    demo = load_config(Path("config/demo.yaml"))
    assert demo.ablations[0] == "starprompt-first-stage"
    assert set(variants_of("starprompt")) - set(demo.ablations) == {
        "starprompt-m1",  # starprompt-gaussian by another name
        "starprompt-m5",  # starprompt by another name
        "joint-starprompt",  # a bound
    }
    value = demo.model_dump()
    named = ["replay", "starprompt-prefix", "starprompt-no-replay"]
    some = load_config({**value, "ablations": named}).ablations
    assert some == [
        "starprompt-no-replay",
        "starprompt-no-replay-1",
        "starprompt-no-replay-2",
        "starprompt-prefix",
    ]
    assert load_config({**value, "ablations": ["all"]}).ablations == demo.ablations
    with pytest.raises(UserError, match="no method or part that variants change named 'repaly'"):
        load_config({**value, "ablations": ["repaly"]})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"datasets": ["a;touch x"]}, "'a;touch x' is no name for a data set"),
        ({"methods": ["der++"]}, r"'der\+\+' is no name for a method"),
        ({"methods": ["`id`"]}, "is no name for a method"),
        ({"methods": ["$(id)"]}, "is no name for a method"),
        ({"name": "../x"}, "name: "),
        ({"name": "a" * 101}, "name: "),
        ({"threads": 99999999999}, "threads: .*1024"),
        ({"threads": "4"}, "threads: "),
        ({"threads": True}, "threads: "),
        ({"seeds": [1.0]}, r"seeds.0: "),
        ({"seeds": ["1993"]}, r"seeds.0: "),
        ({"gpu": -1}, "gpu: "),
        ({"compile": "yes"}, "compile: "),
        ({"methods": None}, "methods: "),
        ({"backbones": None}, "backbones: "),
        ({"ablations": {"all": 1}}, "ablations: "),
        ({"signatures": {"replay_gap": float("nan")}}, "replay_gap: "),
    ],
)
def test_an_experiment(changes: dict[str, Any], sentence: str) -> None:
    value = {"name": "t", "title": "T", "datasets": ["digits"], "methods": ["ncm"], "seeds": [1]}
    assert isinstance(load_config(value), Config)
    with pytest.raises(UserError, match=sentence) as caught:
        load_config({**value, **changes})
    assert "\n" not in str(caught.value)


def test_ablations_need_the_full_method(tmp_path: Path) -> None:
    text = Path("config/demo.yaml").read_text().replace("  - starprompt\n", "")
    (tmp_path / "demo.yaml").write_text(text)
    with pytest.raises(UserError, match="ablations are compared with starprompt"):
        load_config(tmp_path / "demo.yaml")
