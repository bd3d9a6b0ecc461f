"""`starprompt data add FOLDER`: a description of a user's own images, written and prepared."""

import copy
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from starprompt.data.registry import (
    DatasetSpec,
    describe,
    description_file,
    load_dataset_spec,
    parse_spec,
)
from starprompt.data.sources import ImageFolder
from starprompt.data.steps import MOST_SIDE
from starprompt.errors import UserError
from starprompt.files import dump_yaml, read_trouble, require_name, write_text

#: side of the view that the paper's backbones take, and the side that images are stored at
VIEW, STORED = 224, 256
#: images whose size is looked at before a stored size is proposed
LOOKED_AT = 200
#: numbers of equal tasks that are proposed, the first that divides the classes
PROPOSED_TASKS = (10, 5, 4, 3, 2)


def name_of(folder: Path) -> str:
    """A data set's name from its folder's: ``My Photos (2)`` becomes ``my-photos-2``."""
    plain = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:100]
    if not plain:
        raise UserError(
            f"The folder's name {folder.name!r} gives no name for a data set; give one with --name."
        )
    return plain


def parse_tasks(text: str) -> int | list[int] | dict[str, int]:
    """``5``, ``4,3,3`` or ``50+10`` (first and increment) as the YAML has it.

    Raises :class:`UserError` for anything else.
    """
    if re.fullmatch(r"[0-9]{1,6}", text):
        return _positive(text, "the number of tasks", text)
    if re.fullmatch(r"[0-9]{1,6}(,[0-9]{1,6})+", text):
        return [_positive(text, "the classes of every task", part) for part in text.split(",")]
    if re.fullmatch(r"[0-9]{1,6}\+[0-9]{1,6}", text):
        first, increment = text.split("+")
        return {
            "first": _positive(text, "the classes of the first task", first),
            "increment": _positive(text, "the increment", increment),
        }
    raise UserError(
        f"--tasks {text[:100]!r} is not valid; write 5 (equal tasks), 4,3,3 (classes per "
        "task) or 50+10 (first task and increment)."
    )


def _positive(text: str, what: str, number: str) -> int:
    if int(number) == 0:
        raise UserError(f"--tasks {text} is not valid; {what} must be 1 or more.")
    return int(number)


def describe_folder(
    folder: Path,
    name: str,
    *,
    tasks: str | None = None,
    title: str | None = None,
    test_share: float = 0.2,
    size: int = VIEW,
    exif: bool = True,
) -> dict[str, Any]:
    """The description of a folder of images, with what is not given proposed from the images.

    Raises :class:`UserError` when the folder cannot be understood.
    """
    from starprompt.data.formats.folder import Ignored, find_layout, read

    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; check the path.")
    folder = folder.resolve()
    form: dict[str, Any] = {"kind": "image-folder", "folder": str(folder)}
    if find_layout(folder, True, Ignored()).test is None:
        form["test_share"] = test_share
    if not exif:
        form["exif"] = False
    try:
        described = ImageFolder.model_validate(form)
    except ValidationError as error:
        raise UserError(f"{folder}: {describe(error)}.") from error
    listing = read(described, folder, folder)
    classes = len(listing.class_names)
    paths = [*getattr(listing.train.images, "paths", ())]
    stored = min(round(size * STORED / VIEW), MOST_SIDE)
    resize = {"step": "resize", "size": [stored, stored]}
    sides = _sides(paths)
    if sides and max(sides) <= stored:
        # Small images are kept at their own size; the views enlarge them.
        own = sorted(sides)[len(sides) // 2]
        resize = {"step": "resize", "size": [own, own]}
    return {
        "name": name,
        "title": title or name.replace("-", " ").capitalize(),
        "classes": classes,
        "tasks": parse_tasks(tasks) if tasks is not None else _proposed_tasks(classes),
        "image_size": size,
        "sources": [{"format": form}],
        "stored": {"train": [resize], "test": [copy.deepcopy(resize)]},
        "train_transform": [
            {"step": "random_resized_crop", "size": size},
            {"step": "horizontal_flip"},
        ],
        "test_transform": [
            {"step": "resize", "size": [stored, stored]},
            {"step": "center_crop", "size": size},
        ],
    }


def _proposed_tasks(classes: int) -> int | list[int]:
    for count in PROPOSED_TASKS:
        if classes % count == 0 and classes >= 2 * count:
            return count
    count = min(5, max(1, classes // 2))
    share, rest = divmod(classes, count)
    return [share + (i < rest) for i in range(count)] if rest else count


def _sides(paths: list[Path]) -> list[int]:
    """The longer sides of some of the images, evenly spread; their headers alone are read."""
    import warnings

    from PIL import Image

    from starprompt.data.decode import FORMATS

    sides = []
    for path in paths[:: max(1, len(paths) // LOOKED_AT)]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(path, formats=FORMATS) as image:
                    sides.append(max(image.size))
        except Exception as error:  # the preparation names what cannot be decoded
            if isinstance(error, OSError) and error.errno is not None:
                raise read_trouble(path, error) from error
            continue
    return sides


def as_yaml(description: dict[str, Any]) -> str:
    """The description as its file has it."""
    text = dump_yaml(description, width=96)
    return (
        "# Own images, described by `starprompt data add`; every line may be changed\n"
        f"# (docs/data.md), then run `starprompt data prepare {description['name']}`.\n{text}"
    )


def add_folder(
    folder: Path, datasets: Path, name: str | None = None, **options: Any
) -> DatasetSpec:
    """Write ``datasets/NAME.yaml`` for a folder of images; the spec it holds.

    Raises :class:`UserError` when the name is taken or no name, or the folder not understood;
    nothing is written then.
    """
    name = name or name_of(folder.absolute())
    path = datasets / f"{name}.yaml"
    require_name("data set", name, path)
    if datasets.is_dir() and (there := description_file(name, datasets)) is not None:
        if there != path:
            raise UserError(
                f"The package has a data set named {name} ({there}); give another --name."
            )
        raise UserError(f"{path} already exists; give another --name, or edit that file.")
    description = describe_folder(folder, name, **options)
    parse_spec(description, path)
    write_text(path, as_yaml(description))
    return load_dataset_spec(name, datasets)
