"""Where config/ is: the working folder first, then the package."""

from pathlib import Path

import pytest

from starprompt.config.methods import described_in, list_methods, load_method
from starprompt.data.registry import list_datasets, load_dataset_spec
from starprompt.errors import UserError
from starprompt.shipped import find as module
from starprompt.shipped.find import experiment_file, find, overlay, shipped_root
from tests.helpers.paths import REPOSITORY


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_folder_has_what_the_package_has(elsewhere: Path) -> None:
    assert shipped_root() == REPOSITORY
    assert find(Path("config/demo.yaml")) == REPOSITORY / "config/demo.yaml"
    assert "starprompt" in list_methods()
    assert "digits" in list_datasets()


def test_a_file_of_the_working_folder_stands_before_the_packages(elsewhere: Path) -> None:
    own = write(elsewhere / "config/demo.yaml", "")
    assert find(Path("config/demo.yaml")).resolve() == own
    assert overlay(Path("config"))["demo"].resolve() == own
    assert overlay(Path("config"))["paper"] == REPOSITORY / "config/paper.yaml"


def test_own_methods_and_data_sets_stand_beside_the_packages(elsewhere: Path) -> None:
    write(elsewhere / "config/methods/mine.yaml", "extends: linear-probe\ntitle: Mine\n")
    write(
        elsewhere / "config/methods/finetune.yaml",
        "extends: linear-probe\ntitle: My fine-tuning\n",
    )
    digits = (REPOSITORY / "config/datasets/digits.yaml").read_text(encoding="utf-8")
    write(elsewhere / "config/datasets/digits.yaml", digits.replace("tasks: 5", "tasks: 2"))
    assert load_method("mine").title == "Mine"
    assert load_method("finetune").title == "My fine-tuning"
    assert described_in("finetune") == "config/methods/finetune.yaml"
    assert load_dataset_spec("digits").tasks == 2
    assert load_dataset_spec("eurosat").name == "eurosat"


def test_paths_outside_config_are_the_working_folders_alone(elsewhere: Path) -> None:
    assert find(Path("README.md")) == Path("README.md")
    assert find(elsewhere / "config/demo.yaml") == elsewhere / "config/demo.yaml"
    assert overlay(elsewhere / "config") == {}


def test_an_experiment_that_is_nowhere_is_one_sentence(elsewhere: Path) -> None:
    with pytest.raises(UserError, match=r"There is no config/dmo\.yaml in .*, and none in the"):
        experiment_file(Path("config/dmo.yaml"))


def test_the_working_folders_experiments_are_not_said_to_be_the_packages(elsewhere: Path) -> None:
    write(elsewhere / "config/mine.yaml", "")
    write(elsewhere / "config/demo.yaml", "")
    with pytest.raises(UserError) as caught:
        experiment_file(Path("config/dmo.yaml"))
    here, package = str(caught.value).split(", and none in the package, which has ")
    assert here == f"There is no config/dmo.yaml in {elsewhere}, which has mine"
    assert "mine" not in package
    assert "demo, " in package


def test_without_any_config_the_sentence_says_so(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HERE", elsewhere / "a" / "b" / "c")
    with pytest.raises(UserError, match=r"There is no config/ in .*starprompt init"):
        experiment_file(Path("config/demo.yaml"))
