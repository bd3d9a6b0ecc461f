"""``starprompt new``: files for a method or a data set of your own."""

from pathlib import Path
from typing import Annotated

import typer

from starprompt.training import skeletons

app = typer.Typer(no_args_is_help=True, help=__doc__)

Name = Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens.")]


@app.command()
def method(name: Name) -> None:
    """Write a method that works: its Python file and its YAML, to be changed from there.

    Example: starprompt new method my-method
    """
    for path in skeletons.new_method(name):
        typer.echo(f"wrote {path}")
    typer.echo(f"judge it with `starprompt check --method {name}`")


@app.command()
def dataset(
    name: Name,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images, one folder per class; NAME in the data root."),
    ] = None,
) -> None:
    """Write a data set's YAML for a folder of images (`starprompt data add` looks at them too).

    Example: starprompt new dataset birds --images photos/birds
    """
    for path in skeletons.new_dataset(name, images):
        typer.echo(f"wrote {path}")
    typer.echo(f"then `starprompt data prepare {name}`")
