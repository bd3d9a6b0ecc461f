"""Where a data set comes from, as its YAML says: what to fetch, and how to read what was fetched.

A source has ``fetch``, files to bring into ``raw/NAME`` (empty where nothing needs fetching), and
``format``, which names a reader in :mod:`starprompt.data.formats` and its parameters.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Hub(_Part):
    """Files of a data set repository on the Hugging Face hub.

    files  patterns (``*`` also spans folders); each must match at least one file
    """

    kind: Literal["hub"]
    repository: str
    revision: str = "main"
    files: list[str] = Field(min_length=1)


class Url(_Part):
    """One file behind an address, kept under ``file``; ``sha256`` where one is published."""

    kind: Literal["url"]
    url: str
    file: str
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class Torchvision(_Part):
    """A data set that torchvision downloads and checks by itself."""

    kind: Literal["torchvision"]
    dataset: Literal["CIFAR100"]
    files: list[str] = ["cifar-100-python.tar.gz"]


Fetch = Annotated[Hub | Url | Torchvision, Field(discriminator="kind")]


class SklearnDigits(_Part):
    """scikit-learn's bundled handwritten digits: nothing to fetch.

    test_share  share of each class that becomes the test split
    split_seed  seed of that split, apart from any run's seed
    size        side in pixels that the 8x8 scans are enlarged to (bicubic)
    """

    kind: Literal["sklearn-digits"]
    test_share: float = Field(gt=0.0, lt=1.0)
    split_seed: int
    size: int = Field(gt=0)


class ImageFolder(_Part):
    """One folder a class: ``train/CLASS`` and ``test/CLASS``, or ``CLASS`` alone with a test share.

    folder       where the images are; relative to the data root unless absolute
    test_share   for a folder without train and test: the share of each class to test on
    split_seed   seed of that split
    class_names  a text file with one name a line, in the sorted order of the class folders
    """

    kind: Literal["image-folder"]
    folder: str
    test_share: float | None = Field(default=None, gt=0.0, lt=1.0)
    split_seed: int = 0
    class_names: str | None = None


class ListedImages(_Part):
    """Images in an archive, split by published lists of paths.

    archive  a tar (.tar, .tar.gz) or zip among the fetched files
    train, test  list files: YAML or JSON with ``data`` (paths) and ``targets`` or ``labels``
    paths_below  leading folder of the listed paths that the archive has not
    """

    kind: Literal["listed-images"]
    archive: str
    train: str
    test: str
    paths_below: str = ""


class SplitJson(_Part):
    """Images split by one JSON file: ``{"train": [[path, label, class name], ...], "test": ...}``.

    images  a zip or tar, or a pattern of parquet files whose rows are matched by file name
    """

    kind: Literal["split-json"]
    split: str
    images: str


class ParquetImages(_Part):
    """Parquet files of encoded images, split by lists of their file names.

    files  a pattern; name, image: the columns that hold file names and encoded bytes
    train, test  list files as of :class:`ListedImages`
    """

    kind: Literal["parquet-images"]
    files: str
    name: str = "filename"
    image: str = "image_bytes"
    train: str
    test: str


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
