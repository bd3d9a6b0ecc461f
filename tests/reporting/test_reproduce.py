"""`starprompt reproduce` prints commands that make the very file again."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from starprompt.cli import app
from starprompt.config.experiment import Config
from starprompt.errors import UserError
from starprompt.grid.records import every_run
from starprompt.machine.environment import git_revision
from starprompt.reporting.paper import make_tables
from starprompt.reporting.reproduce import reproduce
from tests.helpers.paths import REPOSITORY
from tests.helpers.whole_runs import write_whole_grid

CONFIG = Config(
    name="small", title="Small", datasets=["digits"], methods=["finetune"], seeds=[1993, 1996]
)
FILE = Path("config/small.yaml")
TABLE = Path("results/small/tables/accuracy.md")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    FILE.write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")))
    write_whole_grid(CONFIG, every_run(CONFIG), tmp_path)
    make_tables(FILE)


def test_the_printed_command_makes_the_file_again() -> None:
    lines = reproduce(TABLE)
    before = TABLE.read_bytes()
    TABLE.unlink()
    (command,) = [line for line in lines if line.startswith("starprompt tables")]
    done = CliRunner().invoke(app, command.split()[1:])
    assert done.exit_code == 0, done.output
    assert TABLE.read_bytes() == before


def test_the_lines_are_a_shell_script_that_names_code_and_records() -> None:
    text = "\n".join(reproduce(TABLE))
    revision = git_revision().removesuffix("-dirty")
    assert revision == "unknown" or f"git checkout {revision}" in text
    assert "from 2 records of small" in text
    assert f"grid.snakemake tables --cores all --configfile {FILE}" in text
    assert "starprompt records verify --experiment small" in text
    assert "(those that it was made from)" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ["accuracy.csv", "accuracy.tex", "accuracy.html", "runs.csv"])
def test_every_form_says_it(name: str) -> None:
    assert reproduce(TABLE.with_name(name))[1:] == reproduce(TABLE)[1:]


def test_other_records_and_another_configuration_are_said() -> None:
    shutil.rmtree("results/runs/small/digits/finetune/seed1996")
    text = "\n".join(reproduce(TABLE))
    assert "(not those that it was made from)" in text
    FILE.write_text(FILE.read_text().replace("1996", "1997"))
    text = "\n".join(reproduce(TABLE))
    assert f"no experiment here has that configuration; {FILE} has its name" in text
    FILE.unlink()
    assert f"--configfile {FILE}" in "\n".join(reproduce(TABLE))


def test_the_experiment_as_it_was_run_comes_first() -> None:
    shutil.copy(FILE, "results/small/config.yaml")
    assert "--config results/small/config.yaml" in "\n".join(reproduce(TABLE))


def test_a_file_without_provenance_is_refused() -> None:
    TABLE.write_text("a table")
    with pytest.raises(UserError, match="has no provenance stamp"):
        reproduce(TABLE)
