"""`starprompt predict` and `evaluate`: tables, CSV, JSON."""

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from starprompt.data.store import PreparedDataset, Split
from starprompt.files import sealed, unsealed
from starprompt.finished import ask
from tests.helpers.finished_calls import called
from tests.helpers.paths import REPOSITORY
from tests.helpers.small_stream import digits, prepared


def test_predict_prints_a_table_csv_or_json(runs: Path, scans: Path) -> None:
    run = runs / "starprompt" / "seed1993"
    table = called("predict", run, scans)
    assert table.count(".png") == 6
    rows = json.loads(called("predict", run, scans, "--json", "--top", 3))
    assert len(rows) == 18
    assert [row["rank"] for row in rows[:3]] == [1, 2, 3]
    assert rows[0]["score"] >= rows[1]["score"] >= rows[2]["score"]
    csv = pd.read_csv(StringIO(called("predict", run, scans / "0.png", "--csv")))
    assert csv.columns.tolist() == ["image", "rank", "class", "score"]
    assert csv.loc[0, "class"] == rows[0]["class"]
    assert csv.loc[0, "score"] == pytest.approx(rows[0]["score"], abs=1e-6)


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch) -> PreparedDataset:
    """The small digits as another data set: classes in reverse, images darker."""
    data = prepared()
    labels = data.n_classes - 1 - data.test.labels
    darker = (data.test.images // 2).astype(data.test.images.dtype)
    other = replace(
        data,
        name="dark",
        class_names=data.class_names[::-1],
        test=Split(darker, labels, data.test.sizes),
    )
    spec = digits().model_copy(update={"name": "dark"})
    monkeypatch.setattr(ask, "open_prepared", lambda _: other)
    monkeypatch.setattr(ask, "load_dataset_spec", lambda _: spec)
    return other


def test_evaluate_matches_classes_by_name(
    runs: Path, shifted: PreparedDataset, tmp_path: Path
) -> None:
    run = runs / "starprompt" / "seed1993"
    rows = json.loads(called("evaluate", run, "--dataset", "dark", "--json"))
    assert [row["task"] for row in rows] == [1, 2, 3, 4, 5, "all"]
    assert sum(row["images"] for row in rows[:-1]) == rows[-1]["images"] == 60
    csv = tmp_path / "dark.csv"
    called("evaluate", run, "--dataset", "dark", "--predictions", csv)
    table = pd.read_csv(csv)
    assert 100 * (table["label"] == table["prediction"]).mean() == pytest.approx(
        rows[-1]["accuracy"]
    )
    names = prepared().class_names
    assert table["label"].tolist() == [names[label] for label in prepared().test.labels]


ASKED = """
import sys
from pathlib import Path
from starprompt.finished import cli

loaded = cli._loaded(Path(sys.argv[1]), None, "cpu")
import numpy as np
import torch
from starprompt.machine.numerics import why_not_portable

numbers = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
print(why_not_portable(), (numbers.sqrt().numpy() == np.sqrt(numbers.numpy())).all())
"""


def as_portable(run: Path, folder: Path) -> Path:
    """A copy of a run that says that its numerics are portable."""
    copy = shutil.copytree(run, folder / "copy")
    record = copy / "record.json"
    value = unsealed(json.loads(record.read_text()))
    value["extra"]["numerics"] = "portable"
    record.write_text(json.dumps(sealed(value)))
    return copy


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not x86-64")
def test_commands_ask_a_portable_run_portably(runs: Path, tmp_path: Path) -> None:
    """Its square roots too, which no environment variable reaches."""
    copy = as_portable(runs / "linear-probe" / "seed1993", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", ASKED, str(copy)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "None True\n", done.stderr


def test_a_portable_run_is_asked_on_other_processors_too(
    runs: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    copy = as_portable(runs / "linear-probe" / "seed1993", tmp_path)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert ".png" in called("predict", copy, scans / "0.png")
    assert ["aarch64" in message for message in caplog.messages] == [True]
