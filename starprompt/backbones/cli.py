"""``starprompt weights``: find, verify, download and make the backbones' weights."""

from pathlib import Path
from typing import Annotated

import typer

from starprompt.backbones.names import PAPER_PAIR, Source, parse
from starprompt.errors import UserError

app = typer.Typer(no_args_is_help=True, help=__doc__)

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Backbones, such as ViT-L-14-quickgelu/openai or "
        "vit_base_patch16_224.augreg_in21k. Default: the two of the paper's grid."
    ),
]


@app.command()
def where(names: Names = None) -> None:
    """Print the weights folder and, for each backbone, the file that would be loaded.

    Example: starprompt weights where
    """
    from starprompt.backbones import weights

    typer.echo(f"weights folder: {weights.weights_folder().absolute()}")
    for name in names or PAPER_PAIR:
        if name == "tiny":
            typer.echo(f"{name}: {' and '.join(map(str, _tiny_files().values()))}")
            continue
        source = _file_source(name)
        found = weights.find_local(source)
        typer.echo(f"{name}: {found or f'not here; put it at {weights.expected_file(source)}'}")


@app.command()
def verify(names: Names = None) -> None:
    """Load each backbone from this machine's files and print the SHA-256 of its weights.

    Example: starprompt weights verify tiny
    """
    from starprompt.backbones import checkpoints, weights
    from starprompt.files import sha256_file

    for name in names or PAPER_PAIR:
        if name == "tiny":
            _verify_tiny()
            continue
        source = _file_source(name)
        file = weights.find_local(source)
        if file is None:
            raise UserError(
                f"The weights of {name} are not on this machine; put them at "
                f"{weights.expected_file(source).absolute()} or run "
                f"`starprompt weights download {name}`."
            )
        checkpoints.check(source, file)
        typer.echo(f"{name}: {sha256_file(file)} {file}")


@app.command()
def download(names: Names = None) -> None:
    """Download weights from the Hugging Face hub into the weights folder.

    Example: starprompt weights download
    """
    import shutil

    from starprompt.backbones import weights
    from starprompt.files import atomic_path

    for name in names or PAPER_PAIR:
        if name == "tiny":
            typer.echo(f"{name}: comes with the package")
            continue
        source = _file_source(name)
        file = weights.find_local(source) or weights.fetch(source)
        final = weights.weights_folder() / f"{source.file_stem}{file.suffix}"
        if source.file is None and not final.is_file():
            with atomic_path(final) as part:
                shutil.copyfile(file, part)
            file = final
        typer.echo(f"{name}: {file}")


@app.command("make-tiny")
def make_tiny(
    output: Annotated[
        Path, typer.Option(help="Folder for the two weight files and their model card.")
    ],
    threads: Annotated[
        int,
        typer.Option(min=1, help="CPU threads; with 2 or more, both networks train in parallel."),
    ] = 2,
) -> None:
    """Train the tiny pair from scratch, as the package's weight files were made.

    Example: starprompt weights make-tiny --output tiny
    """
    from starprompt.backbones.tiny.train import make

    card = make(output, threads=threads)
    for file, sha256 in card["sha256"].items():
        typer.echo(f"{output / file}: {sha256}")


def _file_source(name: str) -> Source:
    """The source of a name whose weights come from a file."""
    source = parse(name)
    if source.random:
        raise UserError(f"{name!r} means random weights, for which there is no file.")
    return source


def _tiny_files() -> dict[str, Path]:
    from starprompt.backbones.tiny.models import WEIGHTS

    return WEIGHTS


def _verify_tiny() -> None:
    from starprompt.backbones.tiny import models
    from starprompt.files import sha256_file

    models.load_tiny_clip()
    models.load_tiny_vit()
    for file in models.WEIGHTS.values():
        typer.echo(f"tiny: {sha256_file(file)} {file}")
