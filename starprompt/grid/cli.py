"""Commands about the whole grid: `starprompt submit`, `status`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from starprompt.config.experiment import load_config
from starprompt.config.options import DEFAULT_CONFIG, ConfigOption

app = typer.Typer()


@app.command("submit", rich_help_panel="Grid")
def submit_command(
    config: ConfigOption = DEFAULT_CONFIG,
    go: Annotated[
        bool, typer.Option("--go", help="Run the call instead of only printing it.")
    ] = False,
    partition: Annotated[str | None, typer.Option(help="SLURM partition of all jobs.")] = None,
    account: Annotated[str | None, typer.Option(help="SLURM account of all jobs.")] = None,
    gpu_model: Annotated[str | None, typer.Option(help="GPU type, as sinfo names it.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Maximum of jobs in SLURM's queue.")] = 100,
    local: Annotated[
        bool, typer.Option("--local", help="Run locally even if SLURM is available.")
    ] = False,
    more: Annotated[
        list[str] | None, typer.Argument(help="Arguments for Snakemake, after `--`.")
    ] = None,
) -> None:
    """Print the call of the workflow that suits this machine's GPUs or its SLURM.

    Example: starprompt submit --config config/paper.yaml --go
    """
    from starprompt.grid.submit import SubmitOptions, call

    options = SubmitOptions(partition, account, gpu_model, jobs, local, tuple(more or ()))
    found = call(config, load_config(config), options)
    for line in found.about:
        typer.echo(f"# {line}")
    typer.echo(str(found))
    if go:
        from starprompt.grid.snakemake import run_workflow

        sys.exit(run_workflow(found.arguments))


@app.command("status", rich_help_panel="Grid")
def status_command(
    config: ConfigOption = DEFAULT_CONFIG,
    state: Annotated[
        str | None,
        typer.Option(help="Only runs in this state: finished, running, waiting, started, failed."),
    ] = None,
    ablations: Annotated[bool, typer.Option(help="Also show the ablations' runs.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep running and show changes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write an HTML page to this file.")
    ] = None,
) -> None:
    """Print every run's state: finished, running, waiting, started or failed, and where it runs.

    Example: starprompt status --state failed
    """
    from starprompt.grid.status_views import show

    if (said := show(load_config(config), state, ablations, watch, as_json, html)) is not None:
        typer.echo(said)
