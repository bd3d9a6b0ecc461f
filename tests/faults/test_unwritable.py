"""Places that take nothing: a read-only or full file system, a folder in a file's place.

Every command that writes says so in a sentence with status 2, changes no file and leaves none half
written.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults import damaged_runs
from tests.helpers.command_line import call
from tests.helpers.small_workplace import run_arguments, run_folder

CONFIG = ["--config", "config/few.yaml"]
#: commands that write, and the folder that they write below
WRITERS: dict[str, tuple[list[str], str]] = {
    "tables": (["tables", *CONFIG], "results"),
    "figures": (["figures", *CONFIG], "results"),
    "compare": (["compare", *CONFIG], "results"),
    "report": (["report", *CONFIG], "results"),
    "analyse": (["analyse", "--dataset", "few", *CONFIG], "results"),
    "ablations": (["ablations", *CONFIG], "results"),
    "run": (run_arguments("finetune", 7), "results"),
    "embed": (["embed", "--dataset", "few", *CONFIG], "data"),
    "prepare": (["data", "prepare", "few", "--threads", "1"], "data"),
    "show": (["data", "show", "few", "--output", "results/few.png"], "results"),
    "records": (["records", "export", "results/few.tar.gz", *CONFIG], "results"),
}


@pytest.fixture(scope="module")
def _mounts() -> None:
    """Root on Linux may mount; elsewhere these tests are skipped."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """The small workplace, whose folders tests mount over; unmounted in the end."""
    folder = tmp_path / "place"
    damaged_runs.copy(damaged_runs.base()[0], folder)
    yield folder
    while MOUNTED:  # lazily, because maps of files are still open in this process
        subprocess.run(["umount", "--lazy", MOUNTED.pop()], check=True)


#: what tests of this process have mounted and not yet unmounted
MOUNTED: list[Path] = []


def mount(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["mount", *arguments, folder], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"this machine lets nobody mount: {done.stderr.strip()}")
    if "remount" not in " ".join(arguments):
        MOUNTED.append(folder)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.name != ".lock"
    }


def prepare_for(command: str, place: Path) -> None:
    """Take away what the command would find finished; make what it reads."""
    if command == "embed":
        shutil.rmtree(place / "data/embeddings")
    if command == "prepare":
        shutil.rmtree(place / "data/prepared")
    if command == "ablations":
        damaged_runs.copy(
            damaged_runs.analysed() / "results/few/analysis", place / "results/few/analysis"
        )


def refused(command: str, place: Path) -> str:
    status, said = call(WRITERS[command][0], place)
    sentences = [line for line in said.splitlines() if line.startswith("error: ")]
    assert status == 2, said
    assert len(sentences) == 1, said
    assert "Traceback" not in said
    return sentences[0]


@pytest.mark.usefixtures("_mounts")
@pytest.mark.parametrize("command", WRITERS)
def test_a_read_only_file_system(command: str, place: Path) -> None:
    prepare_for(command, place)
    folder = place / WRITERS[command][1]
    before = files_of(place)
    mount(folder, "--bind", str(folder))
    mount(folder, "-o", "remount,bind,ro")
    assert "read-only" in refused(command, place).lower()
    assert files_of(place) == before


@pytest.mark.usefixtures("_mounts")
@pytest.mark.parametrize("command", WRITERS)
def test_a_full_file_system(command: str, place: Path) -> None:
    prepare_for(command, place)
    folder = place / WRITERS[command][1]
    saved = place / "saved"
    shutil.copytree(folder, saved)
    size = sum(len(data) + 4096 for data in files_of(saved).values())
    mount(folder, "-t", "tmpfs", "-o", f"size={size + 400_000}", "tmpfs")
    shutil.copytree(saved, folder, dirs_exist_ok=True)
    before = files_of(folder)
    with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    assert "disk is full" in refused(command, place)
    (folder / "filler").unlink()
    found = files_of(folder)
    # The run begins with a small note, and goes on from it.
    kept = {name for name in found if "seed7" in name}
    assert {name: data for name, data in found.items() if name not in kept} == before
    assert not [name for name in found if name.endswith(".part")]


@pytest.mark.parametrize(
    "command", ["tables", "figures", "compare", "analyse", "ablations", "report"]
)
def test_a_folder_where_a_file_should_be(command: str, place: Path) -> None:
    arguments, below = WRITERS[command]
    prepare_for(command, place)
    before = files_of(place / below)
    assert call(arguments, place)[0] == 0
    written = sorted(set(files_of(place / below)) - set(before))
    in_the_way = place / below / written[len(written) // 2]
    in_the_way.unlink()
    (in_the_way / "x").mkdir(parents=True)
    assert str(in_the_way.relative_to(place)) in refused(command, place)
    assert (in_the_way / "x").is_dir()
    assert not list(place.rglob("*.part"))


def test_a_file_where_a_runs_folder_should_be(place: Path) -> None:
    folder = run_folder(place, "finetune", 7)
    folder.write_text("no folder")
    assert "a file stands where its folder should be" in refused("run", place)
    assert folder.read_text() == "no folder"


def test_a_folder_where_a_file_of_a_run_should_be(place: Path) -> None:
    path = run_folder(place, "finetune", 7) / "predictions.parquet"
    (path / "x").mkdir(parents=True)
    assert "predictions.parquet" in refused("run", place)
    shutil.rmtree(path)
    assert call(run_arguments("finetune", 7), place)[0] == 0


@pytest.mark.parametrize(
    "name", ["report.html", "figures/curves-few.png", "figures/curves-few.pdf"]
)
def test_a_folder_where_the_page_or_a_figure_of_it_should_be(name: str, place: Path) -> None:
    """A figure that is there is not drawn again; the page does without none in silence."""
    assert call(WRITERS["report"][0], place)[0] == 0
    in_the_way = place / "results/few" / name
    in_the_way.unlink()
    (in_the_way / "x").mkdir(parents=True)
    assert name in refused("report", place)
    assert (in_the_way / "x").is_dir()


@pytest.mark.parametrize("name", ["noise.csv", "noise-runs.csv", "noise.csv.json", "variance.csv"])
def test_a_folder_where_a_measured_spread_should_be(name: str, place: Path) -> None:
    command = name.partition(".")[0].partition("-")[0]
    orders = ["--repeats", "2", "--order", "1", "--order", "2"]
    arguments = orders if command == "variance" else ["--repeats", "1"]
    in_the_way = place / "results/few" / name
    (in_the_way / "x").mkdir(parents=True)
    status, said = call([command, "--method", "finetune", *arguments, *CONFIG], place)
    assert (status, "Traceback" in said) == (2, False), said
    assert name in said.splitlines()[-1]
    assert (in_the_way / "x").is_dir()
    assert not list(place.rglob("*.part"))
