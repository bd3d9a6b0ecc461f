"""Published numbers: ``config/published/*.csv``, each row with the place where it was read.

Nothing is filled from memory: a row names its source and the place in it. Sources that disagree all
stand there.
"""

import csv
import io
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from starprompt.errors import UserError
from starprompt.files import NAME_PATTERN, read_text
from starprompt.shipped.find import overlay

PUBLISHED = Path("config/published")

Kind = Literal[
    "authors",
    "paper",
    "paper as cited",
    "reference value",
    "rerun of the authors' code",
    "re-implementation",
    "rerun",
    "secondary",
]
#: kinds of sources, the nearest to the authors first
KINDS: tuple[Kind, ...] = get_args(Kind)
Metric = Literal["final_average_accuracy", "average_incremental_accuracy", "forgetting"]


def _none_if_empty(text: object) -> object:
    return None if text == "" else text


class PublishedNumber(BaseModel):
    """One number of one source.

    value, deviation  in percent; the deviation is None where the source gives none
    kind              whose word it is; ``secondary`` is a table as another one quotes it
    place             where in the source: a table, a file
    protocol          what differs from the protocol here, as far as the source says it
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str = Field(pattern=NAME_PATTERN)
    dataset: str = Field(pattern=NAME_PATTERN)
    metric: Metric
    value: float = Field(ge=0, le=100, allow_inf_nan=False)
    deviation: Annotated[float | None, BeforeValidator(_none_if_empty)] = Field(
        ge=0, le=100, allow_inf_nan=False
    )
    kind: Kind
    source: str = Field(min_length=1, max_length=200)
    place: str = Field(max_length=200)
    protocol: str = Field(max_length=300)


def load_published(folder: Path | None = None) -> list[PublishedNumber]:
    """Every row of every CSV file of ``folder``, file by file; none where there is no folder.

    Raises :class:`UserError` naming file and line of a row that is not as
    :class:`PublishedNumber` has it.
    """
    return [
        row
        for path in overlay(folder or PUBLISHED, "*.csv").values()
        for row in read_published(path)
    ]


def read_published(path: Path) -> list[PublishedNumber]:
    """The rows of one file; raises as :func:`load_published` does."""
    # An empty place at the start of a line of csv is a place; a byte order mark is none.
    reader = csv.reader(
        io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""), strict=True
    )
    rows: list[PublishedNumber] = []
    try:
        header = next(reader, [])
        if sorted(header) != sorted(PublishedNumber.model_fields):
            wanted = ", ".join(PublishedNumber.model_fields)
            raise UserError(f"{path}, line 1: the columns must be {wanted}.")
        for cells in reader:
            line = reader.line_num
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, line {line}: the row has {len(cells)} cells, the header "
                    f"{len(header)}; make them agree."
                )
            rows.append(_row(dict(zip(header, cells, strict=True)), path, line))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}.") from error
    return rows


def _row(cells: dict[str, str], path: Path, line: int) -> PublishedNumber:
    try:
        return PublishedNumber.model_validate(cells)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}, line {line}: {where}: {first['msg']}.") from error
