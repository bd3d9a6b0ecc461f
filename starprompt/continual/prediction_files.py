"""What a run predicted and which prompts it chose, as columns in parquet files.

One part is written after each evaluation; at the end the parts become one file, a row group each.
Nothing here loops over images.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from starprompt.continual.learner import Selection
from starprompt.files import atomic_path
from starprompt.record.record import PREDICTION_COLUMNS, SELECTION_COLUMNS

#: zstd halves what snappy leaves of the integer columns and costs milliseconds
COMPRESSION = "zstd"


def schema_of(columns: Mapping[str, str]) -> pa.Schema:
    """The arrow schema of a mapping from column to type name, as ``record.py`` has them."""
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])


PREDICTION_SCHEMA = schema_of(PREDICTION_COLUMNS)
SELECTION_SCHEMA = schema_of(SELECTION_COLUMNS)


def prediction_table(
    after_task: int, task: int, ids: Tensor, labels: Tensor, predictions: Tensor, scores: Tensor
) -> pa.Table:
    """One row an image of ``task``, all tensors (N,).

    score is the softmax probability of the predicted class among the classes seen so far.
    """
    columns = {
        "image_id": _numpy(ids),
        "task": np.full(len(ids), task),
        "label": _numpy(labels),
        "prediction": _numpy(predictions),
        "score": _numpy(scores),
        "after_task": np.full(len(ids), after_task),
    }
    return _table(columns, PREDICTION_SCHEMA)


def selection_table(after_task: int, ids: Tensor, labels: Tensor, selection: Selection) -> pa.Table:
    """One row an image and choice; ids, labels (N,), selection (N, K). Choices vary fastest."""
    n_images, n_choices = selection.chosen.shape
    prompt = _numpy(selection.chosen).reshape(-1)
    none = np.full_like(prompt, -1)
    layer = np.arange(n_choices) if selection.layer is None else _numpy(selection.layer)
    if selection.weight is None:
        sharing = np.bincount(layer)[layer]
        weight = np.tile(1 / sharing.astype(np.float32), n_images)
    else:
        weight = _numpy(selection.weight).reshape(-1)
    columns = {
        "image_id": np.repeat(_numpy(ids), n_choices),
        "after_task": np.full(n_images * n_choices, after_task),
        "layer": np.tile(layer, n_images),
        "true_class": np.repeat(_numpy(labels), n_choices),
        "chosen_class": prompt if selection.of == "class" else none,
        "similarity": _numpy(selection.similarity).reshape(-1),
        "prompt": prompt,
        "chosen_task": prompt if selection.of == "task" else none,
        "weight": weight,
    }
    return _table(columns, SELECTION_SCHEMA)


def write_part(path: Path, tables: Sequence[pa.Table], schema: pa.Schema) -> None:
    """Write one evaluation's tables as one row group; none gives a file without rows."""
    with path.open("wb") as file:
        pq.write_table(
            pa.concat_tables([schema.empty_table(), *tables]), file, compression=COMPRESSION
        )


def merge_parts(parts: Sequence[Path], schema: pa.Schema, final: Path) -> None:
    """Write the parts, in order, as one file under its final name, one part in memory at a time."""
    with (
        atomic_path(final) as path,
        path.open("wb") as file,
        pq.ParquetWriter(file, schema, compression=COMPRESSION) as writer,
    ):
        for part in parts:
            writer.write_table(pq.read_table(part, schema=schema))


def _numpy(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
    return tensor.cpu().numpy()


def _table(columns: Mapping[str, np.ndarray], schema: pa.Schema) -> pa.Table:
    # cast() refuses a number that does not fit its column instead of wrapping it round
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
