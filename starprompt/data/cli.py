"""`starprompt data`: the data sets, from source to prepared arrays."""

from pathlib import Path
from typing import Annotated

import typer

from starprompt.data import commands
from starprompt.data.registry import DATASETS_FOLDER, data_root, usable
from starprompt.data.steps import MOST_SIDE

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of a data set.")]
Names = Annotated[str, typer.Argument(help="Name of a data set, or `all`.")]


def _usable(path: Path | None) -> Path | None:
    return None if path is None else usable(path)


Root = Annotated[
    Path | None,
    typer.Option(
        "--root", callback=_usable, help="Folder of all data. Default: $STARPROMPT_DATA or ./data."
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, max=1024, help="CPU threads. Default: all cores.")
]
Folder = Annotated[
    Path, typer.Option("--datasets", callback=_usable, help="Folder of the data sets' YAML files.")
]


@app.command("list")
def list_command(root: Root = None, datasets: Folder = DATASETS_FOLDER) -> None:
    """List the data sets and whether each is downloaded and prepared.

    Example: starprompt data list
    """
    typer.echo(commands.listing(root or data_root(), datasets))


@app.command("download")
def download_command(name: Names, root: Root = None, datasets: Folder = DATASETS_FOLDER) -> None:
    """Download a data set's published files.

    Example: starprompt data download eurosat
    """
    for line in commands.download_all(commands.specs(name, datasets), root or data_root()):
        typer.echo(line)


@app.command("prepare")
def prepare_command(
    name: Names,
    root: Root = None,
    datasets: Folder = DATASETS_FOLDER,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out images that cannot be decoded.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="CPU threads. Default: all cores.")
    ] = None,
) -> None:
    """Download a data set if necessary and decode its images into a memory map.

    Example: starprompt data prepare digits
    """
    chosen = commands.specs(name, datasets)
    for line in commands.prepare_all(
        chosen, root or data_root(), skip_corrupt=skip_corrupt, workers=threads
    ):
        typer.echo(line)


@app.command("add")
def add_command(
    folder: Annotated[
        Path, typer.Argument(callback=_usable, help="Folder with one folder of images per class.")
    ],
    root: Root = None,
    datasets: Folder = DATASETS_FOLDER,
    name: Annotated[
        str | None, typer.Option(help="Name of the data set. Default: the folder's.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title in tables. Default: the name.")] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="5: equal tasks; 4,3,3: classes per task; 50+10: first task and increment."
        ),
    ] = None,
    test_share: Annotated[
        float, typer.Option(help="Share of each class to test on if there is no test folder.")
    ] = 0.2,
    size: Annotated[
        int, typer.Option(min=1, max=MOST_SIDE, help="Side of the network's input, in pixels.")
    ] = 224,
    exif: Annotated[bool, typer.Option(help="Rotate images as EXIF says.")] = True,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out images that cannot be decoded.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, max=1024, help="CPU threads. Default: all cores.")
    ] = None,
) -> None:
    """Describe and prepare a folder of your own images, and list what was taken.

    Example: starprompt data add ~/photos --tasks 5
    """
    for line in commands.add(
        folder,
        root or data_root(),
        datasets,
        name=name,
        skip_corrupt=skip_corrupt,
        workers=threads,
        title=title,
        tasks=tasks,
        test_share=test_share,
        size=size,
        exif=exif,
    ):
        typer.echo(line)


@app.command("verify")
def verify_command(name: Names, root: Root = None, datasets: Folder = DATASETS_FOLDER) -> None:
    """Check the counts and checksums of prepared data sets.

    Example: starprompt data verify digits
    """
    typer.echo(commands.verify_all(commands.specs(name, datasets), root or data_root()))


@app.command("show")
def show_command(
    name: Name,
    root: Root = None,
    datasets: Folder = DATASETS_FOLDER,
    output: Annotated[
        Path | None, typer.Option(callback=_usable, help="PNG file to write. Default: NAME.png.")
    ] = None,
    per_class: Annotated[int, typer.Option(min=1, max=100, help="Images per class.")] = 6,
) -> None:
    """Write a contact sheet: some images of every class, with the classes' names.

    Example: starprompt data show digits --output digits.png
    """
    spec = commands.specs(name, datasets)[0]
    typer.echo(commands.show(spec, root or data_root(), output, per_class))


@app.command("where")
def where_command(name: Names, root: Root = None, datasets: Folder = DATASETS_FOLDER) -> None:
    """Print which files a data set is made from, and where to put them by hand.

    Example: starprompt data where imagenet-r
    """
    for spec in commands.specs(name, datasets):
        typer.echo(commands.where(spec, root or data_root()))
