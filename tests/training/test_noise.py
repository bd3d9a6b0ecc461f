"""The spread that rounding makes, beside the spread over seeds."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from starprompt.config.experiment import load_config
from starprompt.errors import UserError
from starprompt.training import noise
from tests.helpers.paths import REPOSITORY


def test_the_spread_by_rounding_is_pooled_within_seeds() -> None:
    values = {(1, 0): 90.0, (1, 1): 92.0, (2, 0): 70.0, (2, 1): 70.0}
    runs = pd.DataFrame(
        [
            {"dataset": "d", "method": "m", "seed": s, "perturbation": p, "accuracy": a}
            for (s, p), a in values.items()
        ]
    )
    (row,) = noise.summarise(runs).to_dict("records")
    assert row["rounding_std"] == pytest.approx(1.0)  # of variances 2 and 0
    assert row["rounding_range"] == 2.0
    assert row["seeds_std"] == pytest.approx(math.sqrt(200))
    assert (row["seeds"], row["repeats"]) == (2, 2)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Any, ...]]:
    """Runs that only note what they were asked: cell, perturbation, folder, keys' folder."""
    asked: list[tuple[Any, ...]] = []

    def run(config: Any, cell: Any, **options: Any) -> Any:
        number = getattr(options.get("perturbation"), "number", 0)
        asked.append((cell, number, options.get("folder"), options.get("keys_folder")))
        accuracy = 90.0 + number + cell.seed % 10
        return SimpleNamespace(metrics=SimpleNamespace(final_average_accuracy=accuracy))

    monkeypatch.setattr(noise, "run", run)
    monkeypatch.setattr(noise, "RESULTS", tmp_path)
    return asked


def test_a_second_stage_has_keys_of_its_own_perturbation(trained: list[tuple[Any, ...]]) -> None:
    config = load_config(REPOSITORY / "config" / "demo-quick.yaml")
    (row,) = noise.measure_noise(config, 2, methods=["starprompt"]).to_dict("records")
    assert row["mean"] == pytest.approx(94.0)
    assert row["repeats"] == 3
    assert math.isnan(row["seeds_std"])
    assert [(cell.method, number) for cell, number, *_ in trained] == [
        (method, number)
        for number in range(3)
        for method in ("starprompt-first-stage", "starprompt")
    ]
    for (_, _, keys, none), (_, number, folder, given) in zip(
        trained[::2], trained[1::2], strict=True
    ):
        assert given == keys
        assert none is None
        assert (folder is None) == (number == 0)


def test_rows_of_other_methods_are_kept(trained: list[tuple[Any, ...]], tmp_path: Path) -> None:
    config = load_config(REPOSITORY / "config" / "demo-quick.yaml")
    noise.measure_noise(config, 1, methods=["finetune"])
    table = noise.measure_noise(config, 2, methods=["starprompt"])
    assert dict(zip(table["method"], table["repeats"], strict=True)) == {
        "finetune": 2,
        "starprompt": 3,
    }
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "demo-quick" / "noise.csv"), table)


def test_unknown_names_and_no_repeats_are_refused(trained: list[tuple[Any, ...]]) -> None:
    config = load_config(REPOSITORY / "config" / "demo-quick.yaml")
    with pytest.raises(UserError, match="no method of demo-quick named 'finetun'"):
        noise.measure_noise(config, 1, methods=["finetun"])
    with pytest.raises(UserError, match="0 repeats"):
        noise.measure_noise(config, 0)
    assert trained == []
