"""`starprompt new` and `starprompt check --method`, from an empty folder on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from starprompt.config.methods import load_method
from starprompt.data.registry import load_dataset_spec
from starprompt.errors import UserError
from starprompt.training import skeletons
from starprompt.training.check_method import check_method, lines, quick_hyperparameters
from tests.helpers.paths import REPOSITORY


def starprompt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The console script's call: the working folder is not on its path."""
    script = "import sys; sys.path.remove(''); from starprompt.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder outside the repository."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_method_passes_as_it_is_and_broken_ones_are_named(own_folder: Path) -> None:
    assert starprompt(own_folder, "new", "method", "my-own").returncode == 0
    done = starprompt(own_folder, "check", "--method", "my-own")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pass  ") == 11
    assert "FAIL" not in done.stdout
    source = own_folder / "methods/my_own.py"
    source.write_text(
        source.read_text().replace('"trained":', '"traind":').replace("self.seen].detach", "].mean")
    )
    done = starprompt(own_folder, "check", "--method", "my-own")
    assert done.returncode == 2
    assert "did you mean" in done.stdout or "'traind'" in done.stdout
    assert done.stderr.count("error: my-own breaks") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["Mine", "a b", "2d", "class", "../x", "starprompt"])
def test_a_method_s_name_is_checked(name: str, own_folder: Path) -> None:
    before = sorted(own_folder.rglob("*"))
    with pytest.raises(UserError, match=r"name|module"):
        skeletons.new_method(name)
    assert sorted(own_folder.rglob("*")) == before


def test_nothing_is_overwritten(own_folder: Path) -> None:
    (own_folder / "methods").mkdir()
    (own_folder / "methods/mine.py").write_text("# mine")
    with pytest.raises(UserError, match=r"methods/mine.py already"):
        skeletons.new_method("mine")
    assert (own_folder / "methods/mine.py").read_text() == "# mine"
    assert not (own_folder / "config/methods").exists()
    skeletons.new_dataset("photos")
    with pytest.raises(UserError, match="A data set named photos already exists"):
        skeletons.new_dataset("photos")


@pytest.mark.parametrize("images", [None, Path("my: images, 'odd'")])
def test_a_new_data_set_is_a_description(own_folder: Path, images: Path | None) -> None:
    (path,) = skeletons.new_dataset("photos", images)
    spec = load_dataset_spec("photos")
    folder = yaml.safe_load(path.read_text())["sources"][0]["format"]["folder"]
    assert folder == ("photos" if images is None else str(own_folder / images))
    assert spec.title == "Photos"


def test_hyperparameters_are_cut_down_unless_they_are_given() -> None:
    spec = load_method("starprompt")
    values = quick_hyperparameters(spec, {"lr": 0.5})
    assert values["epochs"] == 8 and values["batch_size"] == 16
    assert values["replay_samples"] == 16 and values["lr"] == 0.5
    assert quick_hyperparameters(spec, {"epochs": 20})["epochs"] == 20


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("lr", "write NAME=VALUE"),
        ("rl=1", "no hyperparameter of linear-probe named 'rl'"),
        ("lr=high", "lr: "),
    ],
)
def test_what_set_cannot_mean_is_refused(change: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        list(check_method("linear-probe", [change]))


def test_a_method_with_keys_gets_them_from_its_first_stage() -> None:
    found = list(lines("starprompt"))
    assert len(found) == 11
    assert all(line.startswith("pass") for line in found)
