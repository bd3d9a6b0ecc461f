"""Short real runs of both stages, made as `starprompt run` makes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from starprompt.config.experiment import Config, Run
from starprompt.training import run as training
from tests.helpers.small_stream import embedding, prepared

CONFIG = Config(
    name="looked-at",
    title="t",
    datasets=["digits"],
    methods=["starprompt", "l2p"],
    seeds=[1993],
    device="cpu",
)
QUICK = {"epochs": 2, "batch_size": 32}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of runs on the small digits: the first stage, STAR-Prompt, L2P, the linear probe."""
    folder = tmp_path_factory.mktemp("runs") / "looked-at" / "digits"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "open_prepared", lambda _: prepared())
        patch.setattr(training, "_embedding_file", lambda *_: embedding())
        for method in ("starprompt-first-stage", "starprompt", "l2p", "linear-probe"):
            training.run(
                CONFIG,
                Run("digits", method, 1993),
                folder=folder / method / "seed1993",
                keys_folder=folder / "starprompt-first-stage" / "seed1993",
                hyperparameters=QUICK,
            )
    yield folder


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first test scans as image files, in a folder with what is no image."""
    folder = tmp_path_factory.mktemp("scans")
    for row in range(6):
        pixels = prepared().test.images[row].transpose(1, 2, 0)
        Image.fromarray(pixels).save(folder / f"{row}.png")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder
