"""The runs that separate class order, training and rounding, and the files they leave."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from starprompt.config.experiment import Config, load_config
from starprompt.errors import UserError
from starprompt.reporting import variance as reporting
from starprompt.training import variance
from tests.helpers.paths import REPOSITORY


@pytest.fixture
def config() -> Config:
    return load_config(REPOSITORY / "config" / "demo-variance.yaml")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What each run was asked for; its accuracy follows from its class order alone."""
    calls: list[tuple[Any, ...]] = []

    def run(config: Config, cell: Any, **options: Any) -> Any:
        number = getattr(options["perturbation"], "number", 0)
        calls.append(
            (cell.method, config.order_seed, cell.seed, number, options["folder"],
             options["keys_folder"])
        )  # fmt: skip
        accuracy = 80.0 + (config.order_seed or 0) % 10 - 5.0 * (cell.method == "finetune")
        return SimpleNamespace(metrics=SimpleNamespace(final_average_accuracy=accuracy))

    monkeypatch.setattr(variance, "run", run)
    return calls


def test_every_order_meets_every_seed_with_keys_of_its_own(
    config: Config, asked: list[tuple[Any, ...]]
) -> None:
    runs = variance.measure_variance(config, 2, (), ["starprompt", "finetune"])
    own = [call for call in asked if call[0] == "starprompt"]
    assert len({call[1:4] for call in own}) == len(own) == 3 * 3 * 2
    assert len({call[4] for call in asked}) == len(asked) == 3 * 18
    keys = {call[4]: call[1:4] for call in asked if call[0] == "starprompt-first-stage"}
    for call in own:
        assert keys[call[5]] == call[1:4]
    # The experiment's own runs are those whose order is their seed's, as it is.
    for _, order, seed, number, folder, _ in own:
        assert (folder.parts[:2] == ("results", "runs")) == (order == seed and not number)
    assert len(runs) == 2 * 18


def test_table_and_sentences_say_what_was_measured(
    config: Config, asked: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    runs = variance.measure_variance(config, 2, (), ["starprompt", "finetune"])
    written = reporting.make_variance(config, runs, tmp_path)
    table = pd.read_csv(tmp_path / config.name / "variance.csv", keep_default_na=False)
    first = table.set_index(["method", "less"]).loc["starprompt", ""]
    assert first["order"] > 0 and first["seed"] == first["rounding"] == 0
    page = written[-1].read_text(encoding="utf-8")
    assert "Class order" in page and "2.08 (100%)" in page
    assert "STAR-Prompt \u2212 Fine-tuning" in page
    assert "+5.00 points with a standard deviation of 0.00" in page
    forms = [".csv", ".md", ".tex", ".html", ".md"]
    assert [path.suffix for path in written] == [".csv", ".csv", *forms]


def test_a_design_without_components_is_refused(
    config: Config, asked: list[tuple[Any, ...]]
) -> None:
    with pytest.raises(UserError, match="two class orders"):
        variance.measure_variance(config, 2, [1993])
    with pytest.raises(UserError, match="no method of demo-variance named 'finetun'"):
        variance.measure_variance(config, 2, (), ["finetun"])
    assert asked == []
