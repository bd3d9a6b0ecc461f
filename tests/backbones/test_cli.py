"""`starprompt weights`: where weights are, and whether they are whole."""

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from starprompt.backbones.cli import app
from starprompt.errors import UserError
from starprompt.files import sha256_file
from tests.helpers.small_backbones import VIT, save_vit

VIT_TAG = "test_vit.r160_in1k"


def test_where_verify_and_download(folder: Path) -> None:
    run = CliRunner().invoke
    said = run(app, ["where", VIT_TAG, "tiny"]).output.replace("\n", "")
    assert "not here" in said
    assert "tiny-clip.safetensors" in said
    assert isinstance(run(app, ["verify", VIT_TAG]).exception, UserError)
    assert isinstance(run(app, ["download", VIT_TAG]).exception, UserError)
    assert isinstance(run(app, ["verify", f"{VIT}/random"]).exception, UserError)
    file = folder / f"{VIT_TAG}.safetensors"
    save_vit(file)
    assert str(file) in run(app, ["where", VIT_TAG]).output
    verified = run(app, ["verify", VIT_TAG, "tiny"])
    assert sha256_file(file) in verified.output
    assert verified.output.count("tiny:") == 2
    assert run(app, ["download", VIT_TAG]).exit_code == 0
    file.write_bytes(file.read_bytes()[:-100])
    assert isinstance(run(app, ["verify", VIT_TAG]).exception, UserError)


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys, starprompt.backbones.cli; "
        "print(sorted({'torch', 'timm', 'open_clip', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
