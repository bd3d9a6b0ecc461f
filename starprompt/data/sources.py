"""Where a data set comes from, as its YAML says: what to fetch, and how to read what was fetched.

A source has ``fetch``, files to bring into ``raw/NAME`` (empty where nothing needs fetching), and
``format``, which names a reader in :mod:`starprompt.data.formats` and its parameters.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from starprompt.data.steps import MOST_SIDE
from starprompt.errors import UserError

#: largest seed of NumPy's generators
MOST_SEED = 2**32 - 1


def below_root(name: str) -> str:
    """A relative path that stays below its root, with ``/``; raises ValueError for another.

    Parts that begin with a dot are kept for our own notes and locks.
    """
    parts = name.split("/")
    if len(name) > 1000 or any(len(part.encode("utf-8", "replace")) > 255 for part in parts):
        raise ValueError("the name is too long for a file")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        raise ValueError("a file's name must not contain control characters")
    if name.startswith("/") or "\\" in name or re.match("[A-Za-z]:", name):
        raise ValueError("a path below the data set's folder is expected, with / between its parts")
    if any(part in ("", ".", "..") or part.startswith(".") for part in parts):
        raise ValueError("its parts must have names, which must not begin with a dot")
    return name


def stays_below(root: Path, path: Path) -> Path:
    """``path`` itself, if it lies below ``root`` once links are followed.

    Raises :class:`UserError` for a link that leads out; ``root`` itself may be a link.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{path} is a link that leads out of {root}; put the file itself there, or make "
            f"{root} as a whole a link."
        )
    return path


def _plain_name(name: str) -> str:
    if "/" in below_root(name):
        raise ValueError("a file's name without folders is expected")
    return name


def _image_folder(name: str) -> str:
    """An absolute path, or one below the data root."""
    longest = max(len(part.encode("utf-8", "replace")) for part in name.split("/"))
    if "\0" in name or len(name) > 4000 or longest > 255:
        raise ValueError("this is not a folder's path")
    if not name.startswith("/"):
        below_root(name.rstrip("/"))
    return name


RelativeFile = Annotated[str, AfterValidator(below_root)]
PlainName = Annotated[str, AfterValidator(_plain_name)]
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Hub(_Part):
    """Files of a data set repository on the Hugging Face hub.

    files  patterns (``*`` also spans folders); each must match at least one file
    """

    kind: Literal["hub"]
    repository: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")
    revision: RelativeFile = "main"
    files: list[RelativeFile] = Field(min_length=1)


class Url(_Part):
    """One file behind an address, kept under ``file``; ``sha256`` where one is published."""

    kind: Literal["url"]
    url: str = Field(pattern=r"^https?://[^\s/]+/\S*$", max_length=2000)
    file: PlainName
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class Torchvision(_Part):
    """A data set that torchvision downloads and checks by itself."""

    kind: Literal["torchvision"]
    dataset: Literal["CIFAR100"]
    files: list[Literal["cifar-100-python.tar.gz"]] = ["cifar-100-python.tar.gz"]


Fetch = Annotated[Hub | Url | Torchvision, Field(discriminator="kind")]


class SklearnDigits(_Part):
    """scikit-learn's bundled handwritten digits: nothing to fetch.

    test_share  share of each class that becomes the test split
    split_seed  seed of that split, apart from any run's seed
    size        side in pixels that the 8x8 scans are enlarged to (bicubic)
    """

    kind: Literal["sklearn-digits"]
    test_share: Share
    split_seed: Seed
    size: int = Field(gt=0, le=MOST_SIDE)


class ImageFolder(_Part):
    """One folder per class: ``train/CLASS`` and ``test/CLASS``, or ``CLASS`` with a test share.

    folder       where the images are; relative to the data root unless absolute
    test_share   for a folder without train and test: the share of each class to test on
    split_seed   seed of that split
    class_names  a text file with one name per line, in the sorted order of the class folders
    exif         turn images as their EXIF orientation says
    """

    kind: Literal["image-folder"]
    folder: Annotated[str, AfterValidator(_image_folder)]
    test_share: Share | None = None
    split_seed: Seed = 0
    class_names: RelativeFile | None = None
    exif: bool = True


class ListedImages(_Part):
    """Images in an archive, split by published lists of paths.

    archive  a tar (.tar, .tar.gz) or zip among the fetched files
    train, test  list files: YAML or JSON with ``data`` (paths) and ``targets`` or ``labels``
    paths_below  leading folder of the listed paths that the archive has not
    """

    kind: Literal["listed-images"]
    archive: RelativeFile
    train: RelativeFile
    test: RelativeFile
    paths_below: str = Field(default="", max_length=1000)


class SplitJson(_Part):
    """Images split by one JSON file: ``{"train": [[path, label, class name], ...], "test": ...}``.

    images  a zip or tar, or a pattern of parquet files whose rows are matched by file name
    """

    kind: Literal["split-json"]
    split: RelativeFile
    images: RelativeFile


class ParquetImages(_Part):
    """Parquet files of encoded images, split by lists of their file names.

    files  a pattern; name, image: the columns that hold file names and encoded bytes
    train, test  list files as of :class:`ListedImages`
    """

    kind: Literal["parquet-images"]
    files: RelativeFile
    name: str = "filename"
    image: str = "image_bytes"
    train: RelativeFile
    test: RelativeFile


class PickledArrays(_Part):
    """Four pickles of NumPy arrays: SPLIT_images.pkl, values in [0, 1], and SPLIT_labels.pkl."""

    kind: Literal["pickled-arrays"]


class TorchTensors(_Part):
    """SPLIT_images.pt (N,3,H,W) uint8, SPLIT_labels.pt (N,), and class_names.json."""

    kind: Literal["torch-tensors"]


class NumpyArchives(_Part):
    """SPLIT_data.npz with ``data`` (images, RGB uint8) and ``targets``."""

    kind: Literal["numpy-archives"]


class Cifar100(_Part):
    """CIFAR-100 as torchvision reads it."""

    kind: Literal["cifar100"]


Format = Annotated[
    SklearnDigits
    | ImageFolder
    | ListedImages
    | SplitJson
    | ParquetImages
    | PickledArrays
    | TorchTensors
    | NumpyArchives
    | Cifar100,
    Field(discriminator="kind"),
]


class Source(_Part):
    """One way to come by a data set."""

    fetch: list[Fetch] = []
    format: Format
