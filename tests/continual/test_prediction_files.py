"""Predictions and selections as Parquet files."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from starprompt.continual.learner import Selection
from starprompt.continual.prediction_files import (
    PREDICTION_SCHEMA,
    SELECTION_SCHEMA,
    merge_parts,
    prediction_table,
    selection_table,
    write_part,
)
from starprompt.record.record import PREDICTION_COLUMNS, SELECTION_COLUMNS


def test_the_columns_are_those_of_the_record() -> None:
    columns = {field.name: str(field.type) for field in PREDICTION_SCHEMA}
    assert columns == {n: {"float32": "float"}.get(t, t) for n, t in PREDICTION_COLUMNS.items()}
    columns = {field.name: str(field.type) for field in SELECTION_SCHEMA}
    assert columns == {n: {"float32": "float"}.get(t, t) for n, t in SELECTION_COLUMNS.items()}


@given(st.integers(1, 7), st.integers(1, 4), st.randoms(use_true_random=False))
def test_each_image_and_layer_has_its_row(n: int, n_layers: int, rng: random.Random) -> None:
    ids = torch.tensor(rng.sample(range(10**6), n))
    labels = torch.tensor([rng.randrange(200) for _ in range(n)])
    chosen = torch.tensor([[rng.randrange(200) for _ in range(n_layers)] for _ in range(n)])
    similarity = torch.rand(n, n_layers)
    table = selection_table(3, ids, labels, Selection(chosen, similarity))
    expected = [
        {
            "image_id": int(ids[i]),
            "after_task": 3,
            "layer": layer,
            "true_class": int(labels[i]),
            "chosen_class": int(chosen[i, layer]),
            "similarity": float(similarity[i, layer]),
            "prompt": int(chosen[i, layer]),
            "chosen_task": -1,
            "weight": 1.0,
        }
        for i in range(n)
        for layer in range(n_layers)
    ]
    assert table.to_pylist() == expected


def test_a_label_that_does_not_fit_is_refused_and_not_wrapped() -> None:
    one = torch.tensor([1])
    with pytest.raises(pa.ArrowInvalid):
        prediction_table(0, 0, one, torch.tensor([40_000]), one, torch.tensor([1.0]))


def test_parts_merge_in_order_and_an_empty_one_keeps_the_columns(tmp_path: Path) -> None:
    tables = [
        prediction_table(t, 0, torch.tensor([t]), *[torch.tensor([1])] * 2, torch.tensor([0.5]))
        for t in range(3)
    ]
    paths = [tmp_path / f"{t}.parquet" for t in range(4)]
    for path, table in zip(paths, tables, strict=False):
        write_part(path, [table], PREDICTION_SCHEMA)
    write_part(paths[3], [], PREDICTION_SCHEMA)
    final = tmp_path / "all.parquet"
    merge_parts(paths, PREDICTION_SCHEMA, final)
    merged = pq.read_table(final)
    assert merged.schema.equals(PREDICTION_SCHEMA)
    assert merged["after_task"].to_pylist() == [0, 1, 2]
