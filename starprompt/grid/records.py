"""Records that go from one machine to another: exported, imported under a name, merged.

Imported records stand in ``results/imported/<origin>/`` and fill the gaps of tables, with their
origin shown. Merged runs stand among the experiment's own, as if they had been trained here.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from starprompt.config.experiment import RESULTS, Config, Run
from starprompt.config.methods import with_keys
from starprompt.errors import UserError
from starprompt.files import atomic_path, sha256_file, write_trouble
from starprompt.grid.jobs import Grid
from starprompt.grid.other_configurations import refuse_unlike, shown, unlike_ones
from starprompt.machine.run_lock import LOCK, owner
from starprompt.record.archive import pack, same_run, unpack
from starprompt.record.configuration import OTHER
from starprompt.record.origins import IMPORTED, imported_runs, require_origin, write_origin
from starprompt.record.record import RunRecord, read_record
from starprompt.record.run_files import CHECKPOINT, LARGE_FILES, RECORD, RunKey

#: how many names a message has before it only counts them
_NAMED = 5


def every_run(config: Config, ablations: bool = True) -> list[Run]:
    """The experiment's runs, those of its ablations and of the methods' keys included."""
    grid = Grid(config)
    shown = [*config.methods, *(config.ablations if ablations else [])]
    methods = list(dict.fromkeys(with_keys(shown, grid.methods.__getitem__)))
    return [
        Run(dataset, method, seed)
        for dataset in config.datasets
        for method in methods
        for seed in config.seeds
    ]


def export(
    config: Config,
    archive: Path,
    checkpoints: bool = False,
    datasets: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> list[Run]:
    """Write the experiment's finished runs into ``archive``; return them.

    checkpoints  with checkpoints and diagnostics, which a merge needs
    datasets, methods, seeds  only these, where any are named

    Raises :class:`UserError` when no run has finished, and for a damaged one.
    """
    runs = [
        run
        for run in every_run(config)
        if (not datasets or run.dataset in datasets)
        and (not methods or run.method in methods)
        and (not seeds or run.seed in seeds)
        and (config.run_folder(run) / RECORD).is_file()
    ]
    if not runs:
        raise UserError(
            f"None of the requested runs of {config.name} has finished; run them first."
        )
    folders = {_member(config.name, run): config.run_folder(run) for run in runs}
    pack(folders, archive, checkpoints)
    return runs


def import_archive(archive: Path, origin: str, results: Path = RESULTS) -> tuple[list[Path], int]:
    """Place an archive's runs under ``results/imported/<origin>``.

    Returns the new folders and how many runs were there already. Raises :class:`UserError` for an
    archive that is refused, and for a run that is there with other bytes; nothing is placed then.
    """
    require_origin(origin)
    home = results / IMPORTED / origin
    with _staged(results / IMPORTED) as staging:
        new = _new_runs(
            {run: (staging / run, home / run) for run in unpack(archive, staging)}, origin
        )
        digest = sha256_file(archive)
        for run in new:
            write_origin(staging / run, origin, digest)
            with atomic_path(home / run) as part:
                (staging / run).replace(part)
        known = len(list(staging.glob("*/*/*/seed*")))
    return [home / run for run in new], known


def merge(
    config: Config, archive: Path, origin: str, results: Path = RESULTS
) -> tuple[list[Path], int]:
    """Place an archive's runs among the experiment's own.

    Returns the new folders and how many runs were there already. Raises :class:`UserError`, and
    places nothing, for a run of another experiment or configuration than the one here, without its
    checkpoint, with keys of another first stage, that is there with other bytes, or that a process
    trains right now.
    """
    require_origin(origin)
    grid, known_runs = Grid(config), set(every_run(config))
    with _staged(results / IMPORTED) as staging:
        records = unpack(archive, staging)
        places = {}
        for name, record in records.items():
            run = Run(record.stream.dataset, record.method.name, record.stream.seed)
            if record.config != config.name or run not in known_runs:
                raise UserError(f"{archive}: {name} is no run of {config.name}; import it instead.")
            if not all((staging / name / file).is_file() for file in LARGE_FILES):
                raise UserError(
                    f"{archive}: {name} has no checkpoint, which its place in the grid needs; have "
                    "it exported with --checkpoints, or import it instead."
                )
            places[name] = (staging / name, config.run_folder(run))
        new = _new_runs(places, config.name)
        there = _own_records(config)
        incoming = {places[name][1]: records[name] for name in new}
        refuse_unlike(grid, {**there, **incoming}, set(incoming))
        _refuse_other_keys(config, {**there, **incoming}, set(incoming))
        for name in new:
            if owner(places[name][1]) is not None:
                raise UserError(
                    f"Another process is training {name}; merge again when it has ended."
                )
        digest = sha256_file(archive)
        for name in new:
            write_origin(staging / name, origin, digest)
            _place(*places[name])
    return [places[name][1] for name in new], len(records) - len(new)


def borrowed(
    config: Config, results: Path = RESULTS
) -> tuple[dict[RunKey, tuple[str, Path]], dict[RunKey, str]]:
    """Imported runs that fill gaps of an experiment's tables: origin and folder of each, by run.

    The second mapping says of a gap whose imported run is of another configuration that it is.
    Where several origins have a run, the first by name is taken. Raises :class:`UserError` for a
    damaged record.
    """
    gaps = {
        tuple(run): run for run in config.runs() if not (config.run_folder(run) / RECORD).is_file()
    }
    candidates = [found for found in imported_runs(results) if found[1] in gaps]
    if not candidates:
        return {}, {}
    grid = Grid(config)
    incoming = {folder: read_record(folder / RECORD) for _, _, folder in candidates}
    bad = unlike_ones(grid, {**_own_records(config), **incoming}, set(incoming))
    taken: dict[RunKey, tuple[str, Path]] = {}
    refused: dict[RunKey, str] = {}
    for origin, key, folder in candidates:
        if folder in bad:
            refused[key] = f"that of {origin} is {OTHER}"
        else:
            taken.setdefault(key, (origin, folder))
    return taken, {key: why for key, why in refused.items() if key not in taken}


def _refuse_other_keys(
    config: Config, records: Mapping[Path, RunRecord], incoming: set[Path]
) -> None:
    """Keys must be those that the first stage's run here, or in the same archive, left."""
    for folder in incoming:
        record = records[folder]
        if record.keys is None:
            continue
        stream = record.stream
        of_keys = config.run_folder(Run(stream.dataset, record.keys["method"], stream.seed))
        maker = records.get(of_keys)
        if maker is None or maker.digests.get(CHECKPOINT) != record.keys["digest"]:
            raise UserError(
                f"{shown(record)} has keys that the run of {record.keys['method']} here or in the "
                "archive did not make; export that run with it."
            )


def _own_records(config: Config) -> dict[Path, RunRecord]:
    folders = [config.run_folder(run) for run in every_run(config)]
    return {f: read_record(f / RECORD) for f in folders if (f / RECORD).is_file()}


def _new_runs(places: Mapping[str, tuple[Path, Path]], where: str) -> list[str]:
    """The runs that are not there yet; raises :class:`UserError` for one with other bytes."""
    there = {name for name, (_, final) in places.items() if (final / RECORD).is_file()}
    unequal = [name for name in sorted(there) if not same_run(*places[name])]
    if unequal:
        more = f" and {len(unequal) - _NAMED} more" if len(unequal) > _NAMED else ""
        raise UserError(
            f"Already in {where} with other contents: {', '.join(unequal[:_NAMED])}{more}. The "
            "same run was trained twice; remove one of the two, or export without it."
        )
    return sorted(places.keys() - there)


def _place(source: Path, final: Path) -> None:
    """Put a run's files where a run may have begun; the record last, as the runner does."""
    final.mkdir(parents=True, exist_ok=True)
    lock = FileLock(final / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"Another process is training {final}; merge again when it has ended."
        ) from None
    try:
        # origin.json may come early: it names the record that it is of
        for name in sorted((file.name for file in source.iterdir()), key=RECORD.__eq__):
            with atomic_path(final / name) as part:
                (source / name).replace(part)
            os.utime(final / name)  # not older than what Snakemake takes it to be made from
        shutil.rmtree(final / "work", ignore_errors=True)
    finally:
        lock.release()


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder that goes when the block ends, on the disk where its files will stay."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder) as name:
            yield Path(name)
    except OSError as error:
        trouble = write_trouble(folder, error)
        if trouble is None:
            raise
        raise trouble from error


def _member(experiment: str, run: Run) -> str:
    return f"{experiment}/{run.dataset}/{run.method}/seed{run.seed}"
