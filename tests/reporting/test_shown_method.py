"""``starprompt show``: every value, and where it is from."""

from pathlib import Path

import pytest

from starprompt.config.methods import check_hyperparameters, list_methods, load_method
from starprompt.reporting.shown_method import as_text, resolved

DATASETS = sorted(file.stem for file in Path("config/datasets").glob("*.yaml"))


@pytest.mark.parametrize("name", list_methods())
def test_what_is_shown_is_what_runs(name: str) -> None:
    for dataset in DATASETS:
        shown = {key: v["value"] for key, v in resolved(name, dataset)["values"].items()}
        runs = check_hyperparameters(load_method(name), dataset).model_dump(mode="json")
        assert shown == runs
    text = as_text(resolved(name, "digits"))
    assert max(map(len, text.splitlines())) <= 80


def test_each_value_says_where_it_is_from() -> None:
    values = resolved("starprompt-no-orthogonality", "digits")["values"]
    file = "config/methods/starprompt.yaml"
    assert values["orthogonality"]["value"] == 0.0
    assert values["orthogonality"]["from"] == f"{file}: variants.starprompt-no-orthogonality"
    assert values["orthogonality"]["source"] == ""  # not the authors' value
    assert values["lr"] == {
        "value": 0.01,
        "from": f"{file}: datasets.digits",
        "source": load_method("starprompt").sources["digits"],
    }
    assert values["batch_size"]["from"] == file
    assert values["prefix_length"]["from"] == "class default"
