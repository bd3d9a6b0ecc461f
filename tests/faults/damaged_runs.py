"""Damaged files of runs: `python -m tests.faults.damaged_runs` (320 trials).

A file that a run leaves or reads is truncated, zeroed, exchanged with another's, replaced by a
folder, deleted, or has a bit flipped. Then commands read it. Each refuses in a sentence, or writes
what it writes of the undamaged run, or of an experiment in which that run is missing; and the run
ends with the bytes of the undamaged one.
"""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from starprompt.continual.losses import LossWatch
from starprompt.errors import UserError
from starprompt.grid.ablation_jobs import ANALYSES
from tests.faults._campaign import Trial, WrongError, main
from tests.helpers.command_line import call
from tests.helpers.small_workplace import (
    RESULT_FILES,
    RUNS,
    finish,
    run_arguments,
    run_folder,
    small_workplace,
)

DAMAGES = ("truncated", "bit flipped", "zeroed", "exchanged", "a folder", "deleted")
CONFIG = ["--config", "config/few.yaml"]
#: what reads finished runs, and where it writes what is compared; the quick ones come more often
READERS: dict[str, tuple[list[str], str]] = {
    "tables": (["tables", *CONFIG], "results/few/tables/*"),
    "analyse": (["analyse", "--dataset", "few", *CONFIG], "results/few/analysis/few/*.csv"),
    "compare": (["compare", *CONFIG], "results/few/analysis/*.csv"),
    "figures": (["figures", *CONFIG], "results/few/figures/*.png"),
    "report": (["report", *CONFIG], ""),
    "status": (["status", *CONFIG], ""),
    "cost": (["cost", "--measured", *CONFIG], ""),
    "ablations": (["ablations", *CONFIG], "results/few/ablations/**/*.*"),
    "verify": (["records", "verify", *CONFIG], ""),
}
CHOSEN = [*["tables"] * 5, *["analyse"] * 4, *["status", "cost", "verify"] * 2]
CHOSEN += ["compare", "figures", "report"]
#: from the workplace to the sentences of refusals
_Act = Callable[[Path], list[str]]
#: the run that is stopped in its second task for damage to what an unfinished run keeps
STOPPED = ("starprompt", 2)
STOPPED_AT = 6


@cache
def base() -> tuple[Path, Path]:
    """Two workplaces: one in which all runs are finished, and one in which one is stopped."""
    whole = small_workplace(Path(mkdtemp(prefix="faults-whole-")))
    finish(whole)
    stopped = Path(mkdtemp(prefix="faults-stopped-")) / "place"
    shutil.copytree(whole, stopped)
    shutil.rmtree(run_folder(stopped, *STOPPED))
    stop_at_step(STOPPED_AT, signal.SIGTERM)
    status, said = call(run_arguments(*STOPPED), stopped)
    stop_at_step(0, 0)
    assert status == 128 + signal.SIGTERM, said
    return whole, stopped


_ADD = LossWatch.add


def stop_at_step(step: int, number: int) -> None:
    """From now on, runs of this process get the signal in their ``step``-th step; 0: in none."""
    taken = 0

    def add(self: LossWatch, *arguments: object) -> None:
        nonlocal taken
        taken += 1
        if taken == step:
            os.kill(os.getpid(), number)
        _ADD(self, *arguments)  # type: ignore[arg-type]

    LossWatch.add = add if step else _ADD  # type: ignore[method-assign]


def make(seed: int, number: int) -> Trial:
    """The damage of that number."""
    random_ = random.Random(f"{seed} damage {number}")
    damage = random_.choice(DAMAGES)
    kinds = (_of_finished, _of_finished, _of_finished, _of_keys, _of_stopped, _of_data, _of_tables)
    said, tried = random_.choice(kinds)(random_, damage)

    def judged(folder: Path) -> None:
        refusals = tried(folder / "place")
        if refusals:
            raise UserError(refusals[0])

    return Trial(said, judged)


def _of_finished(random_: random.Random, damage: str) -> tuple[str, _Act]:
    """A file of a finished run; a command reads the runs, and the run is asked for again."""
    run = random_.choice(RUNS)
    name = random_.choice((*RESULT_FILES, "record.json", "record.json"))
    other = random_.choice([one for one in RUNS if one != run])
    reader = random_.choice(CHOSEN)
    draw = random_.randrange(2**32)

    def act(place: Path) -> list[str]:
        copy(base()[0], place)
        file = run_folder(place, *run) / name
        _damage(file, damage, run_folder(place, *other) / name, draw)
        refusals = _read(place, reader, run)
        refusals += _command(place, run_arguments(*run))
        if not refusals or (run_folder(place, *run) / "record.json").is_file():
            compare_run(place, run, refused=bool(refusals))
        return refusals

    return f"finished run, {name}", act


def _of_keys(random_: random.Random, damage: str) -> tuple[str, _Act]:
    """A file of the run that made the keys; a run that needs them is made anew."""
    seed = random_.choice((1, 2))
    name = random_.choice(("checkpoint.safetensors", "checkpoint.safetensors", "record.json"))
    other = random_.choice((("starprompt-first-stage", 3 - seed), ("starprompt", seed)))
    draw = random_.randrange(2**32)

    def act(place: Path) -> list[str]:
        copy(base()[0], place)
        file = run_folder(place, "starprompt-first-stage", seed) / name
        _damage(file, damage, run_folder(place, *other) / name, draw)
        shutil.rmtree(run_folder(place, "starprompt", seed))
        return _trained(place, ("starprompt", seed))

    return f"keys, {name}", act


def _of_stopped(random_: random.Random, damage: str) -> tuple[str, _Act]:
    """A file of what an unfinished run keeps; the run goes on."""
    names = ("outcome.json", "predictions.parquet", "selection.parquet", "state.safetensors")
    files = [f"task-000/{name}" for name in (*names, "diagnostics.safetensors")]
    name = random_.choice(
        [*files, "under-way/place.json", "under-way/state.safetensors", "run.json"]
    )
    other = random_.choice([one for one in files if one.split("/")[1] != name])
    draw = random_.randrange(2**32)

    def act(place: Path) -> list[str]:
        copy(base()[1], place)
        work = run_folder(place, *STOPPED) / "work"
        _damage(work / name, damage, work / other, draw)
        refusals = _command(place, READERS["status"][0])
        return refusals + _trained(place, STOPPED)

    return f"unfinished run, {name.split('/')[-1]}", act


def _of_data(random_: random.Random, damage: str) -> tuple[str, _Act]:
    """A file of the prepared data set, or its features; a run is made anew."""
    prepared = "data/prepared/few"
    parts = [f"{split}_{part}.npy" for split in ("train", "test") for part in ("images", "labels")]
    name = random_.choice(
        [
            *(f"{prepared}/{part}" for part in (*parts, "manifest.json", "class_names.json")),
            "data/embeddings/few/tiny.safetensors",
        ]
    )
    other = (
        f"{prepared}/{random_.choice(['test_images.npy', 'train_sizes.npy', 'test_labels.npy'])}"
    )
    run = random_.choice([("starprompt", 1), ("finetune", 2), ("starprompt-first-stage", 1)])
    draw = random_.randrange(2**32)

    def act(place: Path) -> list[str]:
        copy(base()[0], place)
        _damage(place / name, damage, place / other, draw)
        shutil.rmtree(run_folder(place, *run))
        refusals = _trained(place, run)
        refusals += _command(place, ["data", "verify", "few"])
        # Made anew it has other times, half made another footnote: the tables must only be made.
        return refusals + _command(place, READERS["tables"][0])

    return f"data, {Path(name).name}", act


def _of_tables(random_: random.Random, damage: str) -> tuple[str, _Act]:
    """A table of the analyses, or what stands beside it; the ablations' pages are made."""
    name = random_.choice(ANALYSES)
    suffix = random_.choice((".csv", ".csv", ".csv", ".csv.json"))
    other = random_.choice([table for table in ANALYSES if table != name])
    draw = random_.randrange(2**32)

    def act(place: Path) -> list[str]:
        copy(analysed(), place)
        folder = place / "results/few/analysis/few"
        _damage(folder / f"{name}{suffix}", damage, folder / f"{other}{suffix}", draw)
        return _read(place, "ablations", None)

    return f"analysis, {name}{suffix}", act


@cache
def analysed() -> Path:
    """The workplace in which all runs are finished, and analysed."""
    place = Path(mkdtemp(prefix="faults-analysed-")) / "place"
    copy(base()[0], place)
    status, said = call(READERS["analyse"][0], place)
    assert status == 0, said
    return place


def copy(source: Path, place: Path) -> None:
    """A workplace by hard links: every file is replaced, never written into."""
    shutil.copytree(source, place, copy_function=os.link)


def _damage(file: Path, damage: str, other: Path, draw: int) -> None:
    data = bytearray(file.read_bytes())
    file.unlink()
    match damage:
        case "truncated":
            del data[draw % len(data) :]
        case "bit flipped":
            data[draw % len(data)] ^= 1 << draw % 8
        case "zeroed":
            begin = draw % len(data)
            data[begin : begin + 512] = bytes(len(data[begin : begin + 512]))
        case "exchanged":
            data = bytearray(other.read_bytes())
        case "a folder":
            file.mkdir()
            return
        case "deleted":
            return
    file.write_bytes(data)


def _command(place: Path, arguments: list[str]) -> list[str]:
    """Why a command was refused; an empty list where it ended well."""
    status, said = call(arguments, place)
    if "Traceback" in said:
        raise RuntimeError(f"{arguments[0]}: {said[-300:]}")
    if status == 0:
        return []
    sentences = [line for line in said.splitlines() if line.startswith("error: ")]
    if status not in (1, 2) or (len(sentences) != 1 and arguments[0] != "records"):
        raise RuntimeError(f"{arguments[0]} ended with {status}: {said[-300:]}")
    return [" ".join((sentences or [said])[0].split())[:500]]


def _read(place: Path, reader: str, run: tuple[str, int] | None) -> list[str]:
    """Let a command read the runs; what it wrote must be right, or as if ``run`` were missing."""
    arguments, pattern = READERS[reader]
    refusals = _command(place, arguments)
    if not refusals and pattern:
        found = _written(place, pattern)
        if found not in (_reference(reader, None), _reference(reader, run)):
            raise WrongError(f"{reader} differs: {_difference(found, _reference(reader, None))}")
    return refusals


@cache
def _reference(reader: str, missing: tuple[str, int] | None) -> dict[str, bytes] | None:
    """What a command writes of undamaged runs; None where it refuses."""
    arguments, pattern = READERS[reader]
    place = Path(mkdtemp(prefix="faults-reference-")) / "place"
    copy(analysed() if reader == "ablations" else base()[0], place)
    if missing is not None:
        shutil.rmtree(run_folder(place, *missing))
    try:
        return None if _command(place, arguments) else _written(place, pattern)
    finally:
        shutil.rmtree(place.parent)


def _written(place: Path, pattern: str) -> dict[str, bytes]:
    found = sorted(path for path in place.glob(pattern) if path.suffix != ".pdf")  # has a time
    return {str(path.relative_to(place)): path.read_bytes() for path in found}


def _difference(found: dict[str, bytes], expected: dict[str, bytes] | None) -> str:
    names = [name for name in found if found[name] != (expected or {}).get(name)]
    return ", ".join(names[:3])


def _trained(place: Path, run: tuple[str, int]) -> list[str]:
    refusals = _command(place, run_arguments(*run))
    if not refusals:
        compare_run(place, run, refused=False)
    if left := list(run_folder(place, *run).rglob(".*.part")):
        raise WrongError(f"{left[0].name} was left half written")
    return refusals


def compare_run(place: Path, run: tuple[str, int], refused: bool) -> None:
    """A run that is finished has the bytes of the undamaged one."""
    for name in RESULT_FILES:
        path, expected = run_folder(place, *run) / name, run_folder(base()[0], *run) / name
        if not refused and path.read_bytes() != expected.read_bytes():
            raise WrongError(f"{run}: {name} is another than before")


if __name__ == "__main__":
    base()
    sys.exit(main("damaged runs", make, 320, __doc__ or "", seconds=300))
