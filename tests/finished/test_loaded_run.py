"""A finished run, opened: it says what it said, and only with the files that it left."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import starprompt
from starprompt.errors import UserError
from starprompt.files import sealed, unsealed
from starprompt.finished.loaded_run import LoadedRun, load_run
from starprompt.machine import numerics
from tests.helpers.small_stream import prepared


@pytest.mark.parametrize("method", ["starprompt-first-stage", "starprompt", "l2p", "linear-probe"])
def test_it_predicts_what_the_run_predicted(method: str, runs: Path) -> None:
    run = load_run(runs / method / "seed1993")
    recorded = run.predictions
    recorded = recorded[recorded["after_task"] == 4].sort_values("image_id")
    test = prepared().test
    found = run.predict_stored(test.images, test.sizes)
    assert len(recorded) == len(test)
    assert found.scores.to_numpy().argmax(axis=1).tolist() == recorded["prediction"].tolist()
    assert found.best["score"].to_numpy() == pytest.approx(recorded["score"].to_numpy(), abs=1e-5)
    assert found.best["class"].tolist() == recorded["prediction_name"].tolist()
    assert run.accuracy.loc[5].to_numpy() == pytest.approx(np.array(run.record.accuracy[-1]))
    if found.selection is not None:
        ours = run.selection[run.selection["after_task"] == 4].sort_values(["image_id", "layer"])
        theirs = found.selection.sort_values(["image_id", "layer"])
        assert theirs["prompt"].tolist() == ours["prompt"].tolist()
    assert (found.selection is None) == (method in ("starprompt-first-stage", "linear-probe"))


def test_image_files_are_seen_as_prepared_ones(runs: Path, scans: Path) -> None:
    run = starprompt.load_run(runs / "starprompt" / "seed1993")
    files = [scans / f"{row}.png" for row in range(6)]
    found = run.predict(files)
    stored = run.predict_stored(prepared().test.images[:6], prepared().test.sizes[:6])
    assert found.scores.to_numpy() == pytest.approx(stored.scores.to_numpy(), abs=1e-5)
    assert found.scores.index.tolist() == [str(file) for file in files]
    as_bytes = run.predict([files[0].read_bytes()])
    assert as_bytes.scores.to_numpy() == pytest.approx(found.scores.to_numpy()[:1], abs=1e-6)


def test_what_is_no_image_is_named(runs: Path, scans: Path) -> None:
    run = load_run(runs / "linear-probe" / "seed1993")
    expected = r"cannot be read or decoded: .*notes.txt \(.*missing.png could not be read: No such"
    with pytest.raises(UserError, match=expected):
        run.predict([scans / "0.png", scans / "notes.txt", scans / "missing.png"])
    with pytest.raises(UserError, match="no image to predict"):
        run.predict([])


@pytest.mark.parametrize("sides", [(8, 8), (32, 32), (40, 48)])
def test_an_image_of_another_size_is_told_which_it_should_have(
    runs: Path, tmp_path: Path, sides: tuple[int, int]
) -> None:
    """The digits are stored as their source gives them, and their view resizes nothing."""
    Image.new("L", sides).save(tmp_path / "scan.png")
    run = load_run(runs / "linear-probe" / "seed1993")
    side = run.facts.image_size
    expected = rf"shows {sides[0]}x{sides[1]} pixels, but .*; give it images of {side}x{side} "
    with pytest.raises(UserError, match=expected):
        run.predict([tmp_path / "scan.png"])


def copied(runs: Path, folder: Path, method: str = "starprompt") -> Path:
    shutil.copytree(runs, folder / "c" / "digits")
    return folder / "c" / "digits" / method / "seed1993"


def test_changed_files_are_refused(runs: Path, tmp_path: Path) -> None:
    run = copied(runs, tmp_path)
    checkpoint = run / "checkpoint.safetensors"
    original = checkpoint.read_bytes()
    checkpoint.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    with pytest.raises(UserError, match=r"checkpoint.safetensors is not the file"):
        load_run(run)
    checkpoint.write_bytes(original)
    keys = run.parents[1] / "starprompt-first-stage" / "seed1993" / "checkpoint.safetensors"
    keys.write_bytes(keys.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="holds other keys than"):
        load_run(run)
    keys.unlink()
    with pytest.raises(UserError, match="--keys"):
        load_run(run)
    there = runs / "starprompt-first-stage" / "seed1993"
    assert isinstance(load_run(run, keys=there), LoadedRun)
    with pytest.raises(UserError, match="has not finished"):
        load_run(tmp_path / "nothing")


def rewritten(run: Path, change: dict[str, object]) -> None:
    record = run / "record.json"
    value = unsealed(json.loads(record.read_text()))
    for path, new in change.items():
        *above, last = path.split(".")
        part = value
        for key in above:
            part = part[key]
        if new is None:
            del part[last]
        else:
            part[last] = new
    record.write_text(json.dumps(sealed(value)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"backbones.vit.digest": "0" * 64}, "other weights than vit tiny"),
        (
            {"method.learner": "baselines.lwf:Nothing"},
            "was trained with baselines.lwf:Nothing",
        ),
        ({"method.hyperparameters.speed": 3}, r"hyperparameters.*speed: there is no such key"),
        ({"extra.perturbation": 1}, "perturbed weights"),
        ({"extra.view.image_size": 48}, r"reads views of 64 pixels, and the data set.s are of 48"),
        ({"extra.view.image_size": "large"}, r"extra.view.*image_size"),
        ({"extra.view": None}, "not prepared|another view"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(
    change: dict[str, object], says: str, runs: Path, tmp_path: Path, scans: Path
) -> None:
    run = copied(runs, tmp_path, "linear-probe")
    rewritten(run, change)
    with pytest.raises(UserError, match=says):
        load_run(run).predict([scans / "0.png"])


def test_a_portable_run_is_opened_in_any_process_with_a_warning(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = copied(runs, tmp_path, "linear-probe")
    native = load_run(run).predict_stored(prepared().test.images[:6], prepared().test.sizes[:6])
    assert caplog.messages == []
    rewritten(run, {"extra.numerics": "portable"})
    found = load_run(run).predict_stored(prepared().test.images[:6], prepared().test.sizes[:6])
    assert found.best["class"].tolist() == native.best["class"].tolist()
    (said,) = caplog.messages
    assert "is not set" in said
    assert "may differ from the run's in their last digits" in said


def test_in_a_portable_process_a_portable_run_is_not_warned_of(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    required: list[str] = []
    monkeypatch.setattr(numerics, "why_not_portable", lambda: None)
    monkeypatch.setattr(numerics, "require", required.append)
    run = copied(runs, tmp_path, "linear-probe")
    load_run(run)
    assert required == []
    rewritten(run, {"extra.numerics": "portable"})
    load_run(run)
    assert required == ["portable"], "torch's square root is exchanged"
    assert caplog.messages == []
