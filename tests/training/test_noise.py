"""The repeats that show what rounding does: which runs, with which keys."""

from types import SimpleNamespace
from typing import Any

import pytest

from starprompt.config.experiment import load_config
from starprompt.errors import UserError
from starprompt.training import noise
from tests.helpers.paths import REPOSITORY


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Runs that only note what they were asked: cell, perturbation, folder, keys' folder."""
    asked: list[tuple[Any, ...]] = []

    def run(config: Any, cell: Any, **options: Any) -> Any:
        number = getattr(options.get("perturbation"), "number", 0)
        asked.append((cell, number, options.get("folder"), options.get("keys_folder")))
        accuracy = 90.0 + number + cell.seed % 10
        return SimpleNamespace(metrics=SimpleNamespace(final_average_accuracy=accuracy))

    monkeypatch.setattr(noise, "run", run)
    return asked


def test_a_second_stage_has_keys_of_its_own_perturbation(trained: list[tuple[Any, ...]]) -> None:
    config = load_config(REPOSITORY / "config" / "demo-quick.yaml")
    runs = noise.measure_noise(config, 2, methods=["starprompt", "starprompt"])
    assert runs["perturbation"].tolist() == [0, 1, 2]
    assert runs["accuracy"].tolist() == [93.0, 94.0, 95.0]
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


def test_unknown_names_and_no_repeats_are_refused(trained: list[tuple[Any, ...]]) -> None:
    config = load_config(REPOSITORY / "config" / "demo-quick.yaml")
    with pytest.raises(UserError, match="no method of demo-quick named 'finetun'"):
        noise.measure_noise(config, 1, methods=["finetun"])
    with pytest.raises(UserError, match="0 repeats"):
        noise.measure_noise(config, 0)
    assert trained == []
