"""`starprompt init`: what it writes, and what it leaves alone."""

import subprocess
from pathlib import Path

import pytest

from starprompt.config.experiment import load_config
from starprompt.errors import UserError
from starprompt.shipped.init import init_folder, next_steps


def test_a_new_folder_has_experiments_profiles_and_a_snakefile(tmp_path: Path) -> None:
    folder = tmp_path / "grid"
    written = init_folder(folder)
    names = {str(path.relative_to(folder)) for path in written}
    assert {"Snakefile", "profiles/slurm/config.yaml", "config/demo-quick.yaml"} <= names
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)
    assert load_config(folder / "config/demo-quick.yaml").name == "demo-quick"
    assert next_steps(folder)[0] == f"cd {folder}"


def test_the_steps_can_be_pasted_whatever_the_folder_is_called(tmp_path: Path) -> None:
    for name in ("my grid ü", "it's", "$(x)", "-x"):
        folder = tmp_path / name
        folder.mkdir()
        done = subprocess.run(
            ["bash", "-c", f"{next_steps(folder)[0]}; pwd"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert done.stdout.rstrip("\n") == str(folder)


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    assert init_folder(tmp_path) == init_folder(tmp_path)


def test_what_differs_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"Snakefile already exists with other contents"):
        init_folder(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["Snakefile"]
