"""The wheel alone: a grid in an empty folder, far from any checkout."""

import zipfile
from pathlib import Path

import pytest

from tests.helpers.paths import REPOSITORY
from tests.helpers.wheel import Installed
from tests.helpers.workflows import planned

SNAKEMAKE = ("python", "-m", "snakemake", "--cores", "1")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_config_workflow_and_profiles(installed: Installed) -> None:
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    wanted = {Path("Snakefile")}
    for folder in ("config", "workflow"):
        files = (p for p in (REPOSITORY / folder).rglob("*") if p.is_file())
        wanted |= {p.relative_to(REPOSITORY) for p in files}
    moved = {str(path).replace("workflow/profiles/", "profiles/") for path in wanted}
    assert {f"starprompt/shipped/{name}" for name in moved} <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "config/"))]


def test_commands_answer_in_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    code = "import starprompt, sys; sys.stdout.write(starprompt.__file__)"
    where = installed.run(tmp_path, "python", "-c", code)
    assert Path(where).is_relative_to(installed.packages)
    assert "Handwritten digits" in installed.run(tmp_path, "starprompt", "data", "list")
    assert "cohabitant" not in installed.run(tmp_path, "starprompt", "show", "starprompt")
    said = installed.run(tmp_path, "starprompt", "cost", "--config", "config/no.yaml", status=2)
    assert "There is no config/no.yaml in" in said and "demo-quick" in said
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_plans_the_grid_with_own_methods(installed: Installed, tmp_path: Path) -> None:
    installed.run(tmp_path, "starprompt", "init", "grid")
    folder = tmp_path / "grid"
    own = folder / "config/methods/mine.yaml"
    own.write_text("extends: linear-probe\ntitle: Mine\n", encoding="utf-8")
    methods = 'methods=["mine","joint"]'
    call = ("-n", "--configfile", "config/demo-quick.yaml", "--config", methods)
    jobs = planned(installed.run(folder, *SNAKEMAKE, *call))
    assert jobs == {"prepare": 1, "train": 2, "tables": 1, "figures": 1, "all": 1}
    assert "There is no" not in installed.run(folder, *SNAKEMAKE, "-n")


@pytest.mark.slow
def test_the_quick_demo_runs_in_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    installed.run(tmp_path, "starprompt", "init", "grid")
    folder = tmp_path / "grid"
    said = installed.run(folder, "starprompt", "demo", "--quick")
    table = (folder / "results/demo-quick/tables/accuracy.md").read_text(encoding="utf-8")
    assert table.partition("\n<!--")[0] in said
    assert "STAR-Prompt" in table
    assert (folder / "results/demo-quick/figures/curves-digits.pdf").is_file()
    again = installed.run(folder, *SNAKEMAKE, "--configfile", "config/demo-quick.yaml")
    assert "Nothing to be done" in again
