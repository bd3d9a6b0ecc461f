"""`starprompt new`: the files that it writes, and the commands that it names for them."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from starprompt.errors import UserError
from starprompt.training import skeletons
from starprompt.training.skeletons.cli import app


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_a_method_is_two_files_and_a_command_that_judges_it() -> None:
    said = _run("method", "my-method").splitlines()
    assert said[:2] == ["wrote methods/my_method.py", "wrote config/methods/my-method.yaml"]
    assert said[2].endswith("`starprompt check --method my-method`")
    described = yaml.safe_load(Path("config/methods/my-method.yaml").read_text())
    assert described["learner"] == "methods.my_method:MyMethod"
    compile(Path("methods/my_method.py").read_text(), "my_method.py", "exec")
    assert "class MyMethod" in Path("methods/my_method.py").read_text()


def test_a_data_set_names_the_folder_of_its_images() -> None:
    said = _run("dataset", "birds", "--images", "photos/my birds")
    assert "wrote config/datasets/birds.yaml" in said
    assert said.rstrip().endswith("`starprompt data prepare birds`")
    value = yaml.safe_load(Path("config/datasets/birds.yaml").read_text())
    assert value["sources"][0]["format"]["folder"] == str(Path("photos/my birds").absolute())


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("method", "../x", "is no name for"),
        ("method", "class", "cannot be the name of a Python module"),
        ("method", "slca", "A method named slca already exists"),
        ("dataset", "digits", "A data set named digits already exists"),
    ],
)
def test_names_that_are_none_or_taken_write_nothing(kind: str, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _run(kind, name)
    assert list(Path().iterdir()) == []


def test_what_is_there_is_not_written_over() -> None:
    _run("method", "mine")
    Path("config/methods/mine.yaml").unlink()
    before = Path("methods/mine.py").read_text()
    with pytest.raises(UserError, match=r"methods/mine\.py already exists"):
        _run("method", "mine")
    assert Path("methods/mine.py").read_text() == before
    assert not Path("config/methods/mine.yaml").exists()


@pytest.mark.parametrize("refused", ["methods", "config/methods"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_method_is_written_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, refused: str, kept: bool
) -> None:
    if kept:
        Path("methods").mkdir()
        Path("methods/other.py").touch()
    before = sorted(Path().rglob("*"))
    real = skeletons.write_text

    def write_text(path: Path, text: str) -> None:
        if path.parent == Path(refused):
            raise UserError(f"{path} could not be written: no permission there.")
        real(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(skeletons, "write_text", write_text)
        with pytest.raises(UserError, match="could not be written"):
            _run("method", "mine")
    assert sorted(Path().rglob("*")) == before
    assert "wrote methods/mine.py" in _run("method", "mine")
