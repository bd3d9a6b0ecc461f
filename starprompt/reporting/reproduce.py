"""What tables, figures and pages are made from, and the commands that make a file again."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.config.experiment import RESULTS, Config, load_config
from starprompt.errors import UserError, unknown_name
from starprompt.files import digest_of
from starprompt.machine.environment import git_revision
from starprompt.reporting.spread import RUNS, measured_records, measuring_commands

if TYPE_CHECKING:
    from paper_figures.collect import Results
    from paper_figures.stamps import Stamp

#: by command, the target of the workflow that calls it; None for those that no rule calls
TARGETS: dict[str, str | None] = {
    "tables": "tables",
    "figures": "figures",
    "compare": "compare",
    "report": "report_page",
    "analyse": "ablations",
    "ablations": "ablations",
    **dict.fromkeys(RUNS),
}


def with_provenance(
    command: str,
    config: Config,
    found: "Results | Mapping[str, Path]",
    write: Callable[[], list[Path]],
) -> list[Path]:
    """Call ``write``, whose files say what they were made from; return what it returns.

    command  of ``starprompt`` that is at work
    found    the runs that the files are made from, or their records by name
    """
    from paper_figures.provenance import digest_of_files, record_files
    from paper_figures.stamps import Stamp, stamping, write_side_files

    files = found if isinstance(found, Mapping) else record_files(found)
    stamp = Stamp(
        command=command,
        experiment=config.name,
        configuration=configuration_digest(config),
        records=digest_of_files(files),
        runs=len(files),
        revision=git_revision(),
        starprompt=_version(),
    )
    with stamping(stamp):
        written = write()
        write_side_files(written)
    return written


def configuration_digest(config: Config) -> str:
    """Hex SHA-256 of an experiment, whatever file it is from."""
    return digest_of(config.model_dump(mode="json"))


def reproduce(path: Path, results: Path = RESULTS) -> list[str]:
    """The commands that make a file of results again, with comments for a shell.

    Raises :class:`UserError` for a file that does not say what it was made from.
    """
    from paper_figures.stamps import read_stamp

    stamp = read_stamp(path)
    if stamp.command not in TARGETS:
        raise unknown_name(f"command that makes {path}", stamp.command, TARGETS)
    lines = [
        f"# {path}: written by `starprompt {stamp.command}` {stamp.starprompt} from {stamp.runs} "
        f"records of {stamp.experiment}",
        f"# configuration {stamp.configuration[:12]}, records {stamp.records[:12]}",
    ]
    revision, dirty, _ = stamp.revision.partition("-dirty")
    if stamp.revision == "unknown":
        lines.append("# the revision of the code is not known: it ran outside a checkout")
    else:
        if dirty:
            lines.append("# tracked files differed from this revision")
        lines.append(f"git checkout {revision}")
    source, same = _experiment_file(stamp.experiment, stamp.configuration, results)
    if not same:
        lines.append(
            f"# no experiment here has that configuration; {source} has its name, and differs now"
        )
    file = shlex.quote(str(source))
    target = TARGETS[stamp.command]
    if target is not None:
        lines.append(
            f"python -m starprompt.grid.snakemake {target} --cores all --configfile {file}"
        )
        lines.append(
            f"# or, from the records that are here ({_records_here(source, stamp, results)}):"
        )
        lines.append(f"starprompt records verify --experiment {stamp.experiment}")
    elif source.is_file():
        lines.append(
            "# finished runs are read and not trained again; the records that are here are "
            f"{_records_here(source, stamp, results)}"
        )
        return lines + measuring_commands(load_config(source), source, stamp.command, results)
    if stamp.command == "analyse":
        datasets = load_config(source).datasets if source.is_file() else []
        lines += [f"starprompt analyse --config {file} --dataset {name}" for name in datasets]
    else:
        lines.append(f"starprompt {stamp.command} --config {file}")
    return lines


def _experiment_file(name: str, digest: str, results: Path) -> tuple[Path, bool]:
    """The file of the experiment with this digest, else of this name; whether it is the former."""
    candidates = [results / name / "config.yaml", Path(f"config/{name}.yaml")]
    candidates += sorted(Path("config").glob("*.yaml"))
    for file in candidates:
        try:
            if file.is_file() and configuration_digest(load_config(file)) == digest:
                return file, True
        except UserError:
            continue
    return next((file for file in candidates[:2] if file.is_file()), candidates[1]), False


def _records_here(source: Path, stamp: "Stamp", results: Path) -> str:
    from paper_figures.provenance import digest_of_files, record_files
    from starprompt.reporting.ablations import analysed_runs
    from starprompt.reporting.plan import finished_runs

    def found(config: Config) -> Iterator[Mapping[str, Path]]:
        if stamp.command in RUNS:
            yield measured_records(config, stamp.command, results)
            return
        for collect in (finished_runs, analysed_runs):
            with suppress(UserError):
                yield record_files(collect(config))

    with suppress(UserError):
        if any(digest_of_files(f) == stamp.records for f in found(load_config(source))):
            return "those that it was made from"
    return "not those that it was made from"


def _version() -> str:
    try:
        return version("starprompt")
    except PackageNotFoundError:
        return "unknown"
