"""The commands of `starprompt data`, as a person types them."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from starprompt.data.cli import app
from starprompt.errors import UserError
from tests.helpers import paths

DATASETS = str(paths.DATASETS)


def _run(*words: str, root: Path) -> str:
    result = CliRunner().invoke(app, [*words, "--root", str(root), "--datasets", DATASETS])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    assert "prepared/digits" in _run("prepare", "digits", root=folder)
    return folder


def test_list_tells_what_is_there(root, tmp_path):
    text = _run("list", root=root)
    assert re.search(r"digits +Handwritten digits +10 +5 +prepared", text)
    assert re.search(r"cub200 +Split CUB-200 +200 +10 +not fetched", text)
    assert re.search(r"digits .*ready to prepare", _run("list", root=tmp_path))


def test_where_names_every_file_and_its_origin(root):
    text = _run("where", "imagenet-r", root=root)
    assert f"{root}/raw/imagenet-r/imagenet-r.tar  <-  https://people.eecs.berkeley.edu" in text
    text = _run("where", "eurosat", root=root)
    assert "source 2 of 2" in text
    assert "*.parquet  <-  hub data set aimagelab-ta/eurosat-rgb, revision refs/convert" in text
    text = _run("where", "all", root=root)
    for name in ("cars196", "chestx", "cifar100", "cropdisease", "cub200", "isic", "resisc45"):
        assert f"{root}/raw/{name}/" in text
    assert "nothing to fetch" in text


def test_verify_prints_counts_and_finds_damage(tmp_path):
    _run("prepare", "digits", root=tmp_path)
    assert re.search(
        r"digits +10 +1437 +360 .*published.* good", _run("verify", "all", root=tmp_path)
    )
    images = tmp_path / "prepared" / "digits" / "test_images.npy"
    data = bytearray(images.read_bytes())
    data[-1] ^= 1
    images.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"test_images\.npy has not the checksum"):
        _run("verify", "digits", root=tmp_path)


def test_show_writes_a_contact_sheet_of_every_class(root, tmp_path):
    out = tmp_path / "sheet.png"
    assert _run(
        "show", "digits", "--output", str(out), "--per-class", "3", root=root
    ).strip() == str(out)
    sheet = np.asarray(Image.open(out))
    rows = sheet.shape[0] // 10
    for label in range(10):
        strip = sheet[label * rows : (label + 1) * rows]
        assert strip[:16].min() < 100, "a name in dark ink"
        assert strip[16:, : 3 * 64].mean() < 150, "scans are mostly black"


@pytest.mark.parametrize("command", ["prepare", "download", "verify", "show", "where"])
def test_an_unknown_name_lists_near_ones(command, root):
    with pytest.raises(UserError, match="did you mean 'cub200'"):
        _run(command, "cub20", root=root)


@pytest.mark.parametrize("command", ["verify", "show"])
def test_what_is_not_prepared_says_what_to_run(command, root):
    with pytest.raises(UserError, match="run `starprompt data prepare cub200`"):
        _run(command, "cub200", root=root)


def test_the_root_comes_from_the_environment(root, monkeypatch):
    monkeypatch.setenv("STARPROMPT_DATA", str(root))
    result = CliRunner().invoke(app, ["verify", "digits", "--datasets", DATASETS])
    assert "good" in result.stdout


def test_a_listing_needs_no_heavy_library():
    code = (
        "import sys; from starprompt.data.cli import app; from starprompt.data import commands\n"
        "print([m for m in ('torch', 'torchvision', 'pandas', 'sklearn', 'numpy', 'PIL') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", ["x" * 5000, "a/" * 3000, "x" * 300])
@pytest.mark.parametrize(
    "words",
    [
        ["list", "--root"],
        ["prepare", "digits", "--root"],
        ["verify", "all", "--root"],
        ["where", "digits", "--datasets"],
        ["show", "digits", "--output"],
        ["add"],
    ],
)
def test_a_path_that_the_system_does_not_take_is_one_short_sentence(words, path):
    result = CliRunner().invoke(app, [*words, path])
    assert isinstance(result.exception, UserError)
    assert "cannot be used" in str(result.exception)
    assert len(str(result.exception)) < 400
