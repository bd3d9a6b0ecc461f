"""What data sets there are: one YAML a data set in ``config/datasets``, read and checked here.

Nothing here imports torch, so that a listing or a dry run of the grid answers at once.
"""

import os
import unicodedata
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from starprompt.data.sources import Source
from starprompt.data.steps import Side, Step, StoredShape
from starprompt.errors import UserError, unknown_name
from starprompt.files import Line, read_yaml, require_name
from starprompt.shipped.find import overlay

DATASETS_FOLDER = Path("config/datasets")
DEFAULT_TEMPLATES = ("a photo of a {}.",)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


MOST_CLASSES = 100_000

Mean = Annotated[float, Field(ge=-10.0, le=10.0, allow_inf_nan=False)]
Deviation = Annotated[float, Field(gt=0.0, le=10.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**12)]
#: a title, a class's name: one line that a table can show


class ChannelStatistics(_Part):
    """Per-channel mean and standard deviation of images in [0, 1], R, G, B."""

    mean: list[Mean] = Field(default=[0.0, 0.0, 0.0], min_length=3, max_length=3)
    std: list[Deviation] = Field(default=[1.0, 1.0, 1.0], min_length=3, max_length=3)


class SplitCounts(_Part):
    """Numbers of images that a published data set is known to have."""

    train: Count | None = None
    test: Count | None = None
    total: Count | None = None


class AboutCounts(_Part):
    """Roughly what a data set holds, for a forecast of costs before it is prepared.

    side is that of the square images as they are stored, where no ``stored`` step says it.
    """

    train: Count | None = None
    test: Count | None = None
    side: Side | None = None


class FirstAndIncrement(_Part):
    """Tasks as papers state them (B50-10 is first 50, increment 10): classes of the first task,
    and of every later one."""

    first: int = Field(gt=0)
    increment: int = Field(gt=0)


class DatasetSpec(_Part):
    """One data set as its YAML has it: where from, how stored, how seen, how split into tasks.

    tasks       a number of equal tasks, the classes of each task in order of arrival, or the
                classes of the first task and the increment of each later one
    sources     tried in this order until one gives the files
    stored      the size at which preparation stores every image (before any transform)
    image_size  side of the square view that both transforms end in, in pixels
    """

    name: str
    title: Line
    tasks: int | list[int] | FirstAndIncrement
    classes: int | None = Field(default=None, gt=0, le=MOST_CLASSES)
    image_size: Side = 224
    sources: list[Source] = Field(min_length=1)
    stored: StoredShape = StoredShape()
    train_transform: list[Step] = []
    test_transform: list[Step] = []
    normalisation: ChannelStatistics = ChannelStatistics()
    templates: list[Line] = Field(default=list(DEFAULT_TEMPLATES), min_length=1)
    class_names: list[Line] | None = Field(default=None, min_length=1)
    expected: SplitCounts = SplitCounts()
    about: AboutCounts = AboutCounts()
    license: str = ""
    citation: str = ""
    notes: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "DatasetSpec":
        if not isinstance(self.tasks, FirstAndIncrement):
            sizes = [self.tasks] if isinstance(self.tasks, int) else self.tasks
            if not sizes or min(sizes) < 1 or max(sizes) > MOST_CLASSES:
                raise ValueError("tasks must be a positive number, or a list of positive numbers")
        if self.classes is not None:
            self._task_sizes(self.classes)
        for template in self.templates:
            if "{}" not in template:
                raise ValueError(f"the template {template!r} has no {{}} for the class name")
            if set("{}") & set(template.replace("{}", "", 1)):
                raise ValueError(f"the template {template!r} has other braces than one {{}}")
        if self.class_names is not None:
            refuse_equal_names(self.class_names)
            if self.classes not in (None, len(self.class_names)):
                raise ValueError(
                    f"class_names has {len(self.class_names)} names for {self.classes} classes"
                )
        return self

    def _task_sizes(self, n_classes: int) -> tuple[int, ...]:
        if isinstance(self.tasks, list):
            if sum(self.tasks) != n_classes:
                raise ValueError(
                    f"tasks adds up to {sum(self.tasks)} classes but there are {n_classes}"
                )
            return tuple(self.tasks)
        if isinstance(self.tasks, FirstAndIncrement):
            later, rest = divmod(n_classes - self.tasks.first, self.tasks.increment)
            if later < 0 or rest:
                raise ValueError(
                    f"tasks begins with {self.tasks.first} and adds {self.tasks.increment} at a "
                    f"time, which does not end at {n_classes} classes"
                )
            return (self.tasks.first, *(self.tasks.increment,) * later)
        if self.tasks > n_classes:
            raise ValueError(f"{self.tasks} tasks are more than the {n_classes} classes")
        share, rest = divmod(n_classes, self.tasks)
        if rest:
            even = [share + (i < rest) for i in range(self.tasks)]
            raise ValueError(
                f"{n_classes} classes do not split into {self.tasks} equal tasks; "
                f"list the classes of each task, for instance {even}"
            )
        return (share,) * self.tasks

    def task_ends(self, n_classes: int) -> tuple[int, ...]:
        """Number of classes seen after each task, for a data set of ``n_classes``.

        Raises :class:`UserError` when the tasks do not fit the classes.
        """
        try:
            return tuple(accumulate(self._task_sizes(n_classes)))
        except ValueError as error:
            raise UserError(f"Data set {self.name!r}: {error} (key tasks).") from error

    @property
    def task_count(self) -> int | None:
        """The number of tasks; None where it depends on a number of classes not yet known."""
        if isinstance(self.tasks, int):
            return self.tasks
        if isinstance(self.tasks, list):
            return len(self.tasks)
        return len(self._task_sizes(self.classes)) if self.classes is not None else None


def refuse_equal_names(names: Sequence[str]) -> None:
    """Refuse class names that look alike: equal but for case, spacing or Unicode's composition.

    Raises :class:`ValueError` that names the first two.
    """
    seen: dict[str, str] = {}
    for name in names:
        plain = " ".join(unicodedata.normalize("NFKC", name).replace("_", " ").casefold().split())
        if plain in seen:
            raise ValueError(
                f"the class names {seen[plain]!r} and {name!r} are equal but for case, spacing or "
                "Unicode form"
            )
        seen[plain] = name


def usable(path: Path) -> Path:
    """``path`` itself, if the system takes it for a path; whether something is there is left open.

    Raises :class:`UserError` for one that is too long, may not be looked at, or holds a NUL.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise UserError(f"The path {str(path)[:200]!r} cannot be used: {what}.") from error
    return path


def data_root() -> Path:
    """Where data lies: ``$STARPROMPT_DATA``, or ``data`` in the working folder."""
    return usable(Path(os.environ.get("STARPROMPT_DATA") or "data"))


def list_datasets(folder: Path = DATASETS_FOLDER) -> list[str]:
    """Names of all data sets that have a YAML in ``folder``, sorted; the package's included."""
    return list(_files(folder))


def description_file(name: str, folder: Path = DATASETS_FOLDER) -> Path | None:
    """The YAML of a data set, in ``folder`` or the package; None where no file has that name."""
    return _files(folder).get(name)


def _files(folder: Path) -> dict[str, Path]:
    try:
        return overlay(Path(folder))
    except (OSError, ValueError):  # a path that is too long or holds a NUL names no folder
        return {}


def load_dataset_spec(name: str, folder: Path = DATASETS_FOLDER) -> DatasetSpec:
    """Read and check ``folder/NAME.yaml``.

    Raises :class:`UserError` for a name that no file answers to (near names are listed) and for a
    file that is not what it should be (file, key and what was expected are named).
    """
    folder = Path(folder)
    known = _files(folder)
    if not known:
        raise UserError(
            f"There is no data set description in {str(folder.absolute())[:300]}; put a "
            "NAME.yaml there, or give another folder with --datasets."
        )
    if name not in known:
        raise unknown_name("data set", name, known)
    path = known[name]
    require_name("data set", name, path)
    spec = validate_yaml(path)
    if spec.name != name:
        raise UserError(f"{path}: name: expected {name!r}, as the file, not {spec.name!r}.")
    return spec


def validate_yaml(path: Path) -> DatasetSpec:
    """The spec in one YAML file; see :func:`load_dataset_spec`."""
    value = read_yaml(path)
    return parse_spec(value, path)


def parse_spec(value: dict[str, Any], path: Path) -> DatasetSpec:
    """The spec that a description holds, which stands or will stand in ``path``.

    Raises :class:`UserError` naming file, key and what was expected.
    """
    try:
        # Strictness over JSON rules: "5" is no number, but a list is good where a tuple is meant.
        return DatasetSpec.model_validate_json(_json(value))
    except ValidationError as error:
        raise UserError(f"{path}: {describe(error)}.") from error


def _json(value: Any) -> str:
    import json

    return json.dumps(value, default=str)


def describe(error: ValidationError) -> str:
    """The first fault of a failed validation as ``key: what was expected, what was given``.

    Of a value that may have one of several forms, that is the fault of the form that it fits best.
    """
    faults = error.errors()
    first, above = faults[0], faults[0]["loc"][:-1]
    if above:
        forms = [fault for fault in faults if fault["loc"][: len(above)] == above]
        first = max(forms, key=lambda fault: len(fault["loc"]))
    key = ".".join(str(part) for part in first["loc"]) or "the whole file"
    if first["type"] == "extra_forbidden":
        return f"{key}: this key is not known; remove it or correct its spelling"
    if first["type"] == "missing":
        return f"{key}: this key is missing; add it"
    given = first.get("input")
    what = first["msg"].removeprefix("Value error, ")
    what = what[0].lower() + what[1:]
    if isinstance(given, (str, int, float, bool)) or given is None:
        shown = repr(given)
        return f"{key}: {what}, got {shown if len(shown) <= 100 else shown[:100] + '...'}"
    return f"{key}: {what}"
