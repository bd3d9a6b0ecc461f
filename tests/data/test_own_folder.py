"""`starprompt data add`: the description of a folder of images."""

import errno
from pathlib import Path

import pytest
from typer.testing import CliRunner

from starprompt.data.cli import app
from starprompt.data.own_folder import describe_folder, name_of, parse_tasks
from starprompt.data.registry import load_dataset_spec, parse_spec
from starprompt.data.steps import MOST_SIDE
from starprompt.data.store import open_prepared
from starprompt.errors import UserError
from starprompt.shipped.find import shipped_root
from tests.helpers.image_folders import class_folders


def _run(*words: str) -> tuple[str, BaseException | None]:
    result = CliRunner().invoke(app, list(words))
    return result.stdout, result.exception


def _add(folder: Path, tmp_path: Path, *words: str) -> tuple[str, BaseException | None]:
    places = ["--root", str(tmp_path / "data"), "--datasets", str(tmp_path / "datasets")]
    return _run("add", str(folder), *places, "--threads", "1", *words)


def test_data_add_writes_prepares_and_shows_what_it_took(tmp_path):
    folder = class_folders(tmp_path / "My Photos (2)", tuple("abcdefghij"))
    (folder / "a" / "x.heic").write_bytes(b"x")
    text, error = _add(folder, tmp_path)
    assert error is None, text
    assert f"wrote {tmp_path}/datasets/my-photos-2.yaml" in text
    assert "taken: 30 training and 10 test images of 10 classes" in text
    assert "ignored, images in formats that are not read: 1 (x.heic)" in text
    assert "tasks: 5 (2, 2, 2, 2, 2 classes); view: 224 pixels" in text
    spec = load_dataset_spec("my-photos-2", tmp_path / "datasets")
    assert spec.title == "My photos 2"
    assert spec.stored.train[0].size == (24, 24), "small images keep their size"
    open_prepared(tmp_path / "data" / "prepared" / "my-photos-2")
    _, error = _add(folder, tmp_path)
    assert "give another --name" in str(error)
    text, error = _add(folder, tmp_path, "--name", "other", "--tasks", "6+2", "--size", "64")
    assert "tasks: 3 (6, 2, 2 classes); view: 64 pixels" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "Bad Name"], "is no name for a data set"),
        (["--name", "../x"], "is no name for a data set"),
        (["--tasks", "many"], "is not valid; write 5"),
        (["--tasks", "1+0"], "--tasks 1+0 is not valid; the increment must be 1 or more"),
        (["--tasks", "0+1"], "the classes of the first task must be 1 or more"),
        (["--tasks", "2,0"], "the classes of every task must be 1 or more"),
        (["--tasks", "0"], "the number of tasks must be 1 or more"),
        (["--tasks", "7"], "7 tasks are more than the 2 classes"),
        (["--title", "a\nb"], "title: it contains the character"),
        (["--test-share", "1.5"], "test_share"),
        (["--test-share", "nan"], "test_share"),
        (["--test-share", "inf"], "test_share"),
    ],
)
def test_a_mistake_in_data_add_is_one_sentence_and_writes_nothing(tmp_path, words, message):
    folder = class_folders(tmp_path / "mine")
    _, error = _add(folder, tmp_path, *words)
    assert isinstance(error, UserError)
    assert message in str(error)
    assert not list(tmp_path.glob("datasets/*"))
    assert not list(tmp_path.glob("data/*"))


def test_data_add_of_images_that_cannot_be_decoded_writes_no_description(tmp_path):
    folder = class_folders(tmp_path / "mine")
    (folder / "ant" / "0.png").write_bytes(b"x")
    _, error = _add(folder, tmp_path)
    assert "1 of its images cannot be decoded" in str(error)
    assert not list(tmp_path.glob("datasets/*"))
    text, error = _add(folder, tmp_path, "--skip-corrupt")
    assert error is None
    assert "left out, cannot be decoded: 1" in text


@pytest.mark.parametrize("name", ["08", "0e0", "1e5", "2026-11-26"])
def test_a_name_that_looks_like_a_number_is_written_as_text(tmp_path, name):
    _, error = _add(class_folders(tmp_path / name), tmp_path)
    assert error is None
    assert load_dataset_spec(name, tmp_path / "datasets").name == name


@pytest.mark.parametrize("size", [1, 2, 32, 224, 3584, 3585, 4095, 4096])
def test_every_size_that_the_help_names_gives_a_description(tmp_path, size):
    folder = class_folders(tmp_path / "mine")
    spec = parse_spec(describe_folder(folder, "mine", size=size), tmp_path / "mine.yaml")
    assert spec.image_size == size
    resize, crop = spec.test_transform
    assert MOST_SIDE >= resize.size[0] >= crop.size == size


def test_a_name_that_the_package_has_is_said_to_lie_there(tmp_path, monkeypatch):
    folder = class_folders(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    Path("config/datasets").mkdir(parents=True)
    places = ["--root", str(tmp_path / "data"), "--threads", "1"]
    _, error = _run("add", str(folder), *places, "--name", "digits")
    shipped = shipped_root() / "config/datasets/digits.yaml"
    assert str(error) == (
        f"The package has a data set named digits ({shipped}); give another --name."
    )
    _run("add", str(folder), *places, "--name", "mine")
    _, error = _run("add", str(folder), *places, "--name", "mine")
    assert "config/datasets/mine.yaml already exists; give another --name, or edit" in str(error)


def test_names_and_tasks_as_a_person_types_them():
    assert name_of(Path("/x/My Photos (2)")) == "my-photos-2"
    with pytest.raises(UserError, match="--name"):
        name_of(Path("/x/###"))
    assert parse_tasks("10") == 10
    assert parse_tasks("4,3,3") == [4, 3, 3]
    assert parse_tasks("50+10") == {"first": 50, "increment": 10}
    for text in ("", "a", "1,", "+5", "5+", "-1", "9" * 9, "1e3", "1.5"):
        with pytest.raises(UserError, match="is not valid"):
            parse_tasks(text)


def test_data_add_goes_on_when_an_image_may_be_read_again(tmp_path, monkeypatch):
    folder = class_folders(tmp_path / "mine")
    real = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        if self == folder / "ant" / "1.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self)

    for words in ((), ("--skip-corrupt",)):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", read_bytes)
            _, error = _add(folder, tmp_path, *words)
        assert "1.png could not be read: Permission denied; check its permissions" in str(error)
        assert not list(tmp_path.glob("datasets/*"))
    text, error = _add(folder, tmp_path, "--skip-corrupt")
    assert error is None
    assert "left out" not in text


def test_no_size_is_proposed_from_the_images_that_could_be_read_alone(tmp_path, monkeypatch):
    folder = class_folders(tmp_path / "mine")

    def fails(path, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("PIL.Image.open", fails)
    with pytest.raises(UserError, match=r"\.png could not be read: Input/output error"):
        describe_folder(folder, "mine")
