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
    go: Annotated[bool, typer.Option("--go", help="Make the call, not only print it.")] = False,
    partition: Annotated[str | None, typer.Option(help="SLURM's, for all jobs.")] = None,
    account: Annotated[str | None, typer.Option(help="SLURM's.")] = None,
    gpu_model: Annotated[str | None, typer.Option(help="Type of GPU, as sinfo names it.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Most jobs in SLURM's queue at a time.")] = 100,
    local: Annotated[
        bool, typer.Option("--local", help="Run locally even if SLURM is available.")
    ] = False,
    more: Annotated[list[str] | None, typer.Argument(help="For snakemake, behind `--`.")] = None,
) -> None:
    """Print the call of the workflow that is right for this machine: its GPUs, or SLURM.

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
        str | None, typer.Option(help="finished, running, waiting, started or failed alone.")
    ] = None,
    ablations: Annotated[bool, typer.Option(help="Show the ablations' runs too.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show changes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write this page.")] = None,
) -> None:
    """Say of every run whether it is finished, running, waiting, started or failed, and where.

    Example: starprompt status --state failed
    """
    from starprompt.grid.status_views import show

    if (said := show(load_config(config), state, ablations, watch, as_json, html)) is not None:
        typer.echo(said)
