"""`starprompt records`: export, import, merge, list, compare and verify finished runs."""

from pathlib import Path
from typing import Annotated

import typer

from starprompt.config.experiment import RESULTS, load_config
from starprompt.config.options import DEFAULT_CONFIG, ConfigOption, one_format
from starprompt.errors import UserError

app = typer.Typer(no_args_is_help=True)

OriginOption = Annotated[str, typer.Option("--origin", help="Name of the source, shown in tables.")]
ArchiveArgument = Annotated[Path, typer.Argument(help="Archive that `records export` wrote.")]


@app.command("export")
def export_command(
    archive: Annotated[Path, typer.Argument(help="Zip file to write.")],
    config: ConfigOption = DEFAULT_CONFIG,
    checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints", help="Include checkpoints and diagnostics, which a merge needs."
        ),
    ] = False,
    dataset: Annotated[list[str] | None, typer.Option(help="Only this data set.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Only this seed.")] = None,
) -> None:
    """Verify an experiment's finished runs and write them into one archive.

    Example: starprompt records export demo.zip
    """
    from starprompt.grid.records import export

    runs = export(
        load_config(config), archive, checkpoints, dataset or (), method or (), seed or ()
    )
    typer.echo(f"wrote {archive}: {len(runs)} runs")


@app.command("import")
def import_command(archive: ArchiveArgument, origin: OriginOption) -> None:
    """Import other people's runs into results/imported/ORIGIN; tables name their origin.

    Example: starprompt records import theirs.zip --origin lab-b
    """
    from starprompt.grid.records import import_archive

    new, known = import_archive(archive, origin)
    typer.echo(f"{len(new)} new runs under {RESULTS}/imported/{origin}; {known} were there already")


@app.command("merge")
def merge_command(
    archive: ArchiveArgument,
    origin: OriginOption,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Add this experiment's runs from another machine to the runs made here.

    Example: starprompt records merge second.zip --origin node-2
    """
    from starprompt.grid.records import merge

    experiment = load_config(config)
    new, known = merge(experiment, archive, origin)
    typer.echo(f"{len(new)} new runs in {experiment.runs_folder}; {known} were there already")


@app.command("list")
def list_command(
    path: Annotated[
        Path | None, typer.Argument(help="Folder of records. Default: all results.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Only this experiment's runs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """List records: origin, method, data set, seed, accuracy, source, versions, device.

    Exit status 1 if a record is refused.

    Example: starprompt records list --csv
    """
    from starprompt.record import listing

    one_format(as_csv, as_json)
    rows = list(listing.listed(_folders(path, experiment)))
    if as_json or as_csv:
        typer.echo(listing.as_json(rows) if as_json else listing.as_csv(rows), nl=as_json)
    else:
        typer.echo(listing.as_text(rows))
    raise typer.Exit(int(any(row.trouble for row in rows)))


@app.command("diff")
def diff_command(
    one: Annotated[Path, typer.Argument(help="Folder of a run.")],
    other: Annotated[Path, typer.Argument(help="Folder of another run.")],
) -> None:
    """Compare two runs: configuration, code, versions, results, first differing prediction.

    Exit status 1 if configuration, results or predictions differ.

    Example: starprompt records diff RUN OTHER
    """
    from starprompt.record.comparison import compare, lines

    found = compare(one, other)
    for line in lines(found):
        typer.echo(line)
    raise typer.Exit(int(not found.same))


@app.command("verify")
def verify_command(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Folders of records. Default: all results.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(help="Only this experiment's runs.")] = None,
) -> None:
    """Recompute every metric from the accuracy matrix, and the matrix from the predictions.

    Exit status 1 if a run contradicts itself; each such run is named.

    Example: starprompt records verify --experiment demo
    """
    from starprompt.record.verify import verify_all

    chosen: list[Path | None] = [*paths] if paths else [None]
    folders = [folder for path in chosen for folder in _folders(path, experiment)]
    bad = verify_all(folders)
    for why in bad.values():
        typer.echo(f"refused: {why}")
    typer.echo(f"{len(folders) - len(bad)} of {len(folders)} runs are consistent.")
    raise typer.Exit(int(bool(bad)))


def _folders(path: Path | None, experiment: str | None) -> list[Path]:
    from starprompt.record.listing import default_folders, run_folders

    found = default_folders(RESULTS, experiment) if path is None else run_folders(path)
    if not found:
        raise UserError(f"There is no record under {path or RESULTS}; check the path.")
    return found
