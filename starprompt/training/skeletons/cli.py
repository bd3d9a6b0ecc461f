"""``starprompt new``: write the files of a new method or data set."""

from pathlib import Path
from typing import Annotated

import typer

from starprompt.training import skeletons

app = typer.Typer(no_args_is_help=True, help=__doc__)

Name = Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")]


@app.command()
def method(name: Name) -> None:
    """Write a working method to start from: its Python file and its YAML.

    Example: starprompt new method my-method
    """
    for path in skeletons.new_method(name):
        typer.echo(f"wrote {path}")
    typer.echo(f"check it with `starprompt check --method {name}`")


@app.command()
def dataset(
    name: Name,
    images: Annotated[
        Path | None,
        typer.Option(help="Images, one folder per class. Default: NAME in the data folder."),
    ] = None,
) -> None:
    """Write a data set's YAML for a folder of images (see also `starprompt data add`).

    Example: starprompt new dataset birds --images photos/birds
    """
    for path in skeletons.new_dataset(name, images):
        typer.echo(f"wrote {path}")
    typer.echo(f"then `starprompt data prepare {name}`")
