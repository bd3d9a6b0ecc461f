"""`starprompt data`: the data sets, from source to prepared arrays."""

from typing import Annotated

import typer

from starprompt.data.registry import data_root, list_datasets, load_dataset_spec

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of a data set.")]


@app.command("list")
def list_command() -> None:
    """The data sets that have a description."""
    for name in list_datasets():
        spec = load_dataset_spec(name)
        typer.echo(f"{name:12} {spec.title}")


@app.command("prepare")
def prepare_command(name: Name) -> None:
    """Decode a data set once, into a memory map."""
    from starprompt.data.prepare import prepare

    typer.echo(f"prepared {prepare(load_dataset_spec(name), data_root())}")
