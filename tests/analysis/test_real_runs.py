"""Short real runs of STAR-Prompt and variants, watched by the runner, and the analyses of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from starprompt.analysis.report import analyse
from starprompt.analysis.results import RunFiles
from starprompt.backbones.blocks import Prefix, Residual
from starprompt.config.thresholds import Thresholds
from starprompt.continual.header import RunHeader, describe_stream
from starprompt.continual.learner import Learner, Selection
from starprompt.continual.prediction_files import SELECTION_SCHEMA, selection_table, write_part
from starprompt.continual.runner import run
from starprompt.data.stream import TaskStream
from starprompt.files import sha256_file
from starprompt.method.first_stage import FirstStage
from starprompt.method.starprompt import StarPrompt
from starprompt.record.record import MethodRecord, RunRecord
from starprompt.training.watch import SignatureWatch
from tests.helpers.small_stream import CPU, learn, make, small_stream

FIRST = {"epochs": 3, "batch_size": 32, "replay_epochs": 1, "replay_samples": 16, "lr": 0.01}
SECOND = {"epochs": 1, "batch_size": 32, "replay_epochs": 1, "replay_samples": 16, "components": 2}
VARIANTS = {
    "starprompt": {},
    "starprompt-prefix": {"injection": "prefix"},
    "starprompt-post-attention": {"injection": "post_attention", "query": "clean"},
    "starprompt-learned-keys": {"key_source": "learned", "lr": 0.05},
    "starprompt-clip-keys": {"key_source": "template"},
    "starprompt-no-replay": {"replay": False},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost a busy machine more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream([2, 4, 4])


def do_run(
    kind: type[Learner],
    name: str,
    stream: TaskStream,
    folder: Path,
    keys: Path | None,
    **hp: object,
) -> RunRecord:
    method = MethodRecord(name=name, title=name, learner="made:Up", hyperparameters=dict(hp))
    found = None
    if keys is not None:
        digest = sha256_file(keys / "checkpoint.safetensors")
        found = {"method": "starprompt-first-stage", "digest": digest}
    header = RunHeader(
        "test", method, describe_stream(stream, title="Digits", seed=1993), keys=found
    )
    return run(
        lambda: make(kind, stream, keys, **hp),
        stream,
        folder / name / "seed1993",
        header=header,
        device=CPU,
        watch=SignatureWatch(header.stream.task_of_class, Thresholds(), header.where),
    )


@pytest.fixture(scope="module")
def runs(stream: TaskStream, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all runs."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    do_run(FirstStage, "starprompt-first-stage", stream, folder, None, **FIRST)
    keys = folder / "starprompt-first-stage" / "seed1993"
    for name, changes in VARIANTS.items():
        hp = {**SECOND, **changes}
        needs_keys = hp.get("key_source", "first_stage") == "first_stage"
        do_run(StarPrompt, name, stream, folder, keys if needs_keys else None, **hp)
    return folder


def files(runs: Path, name: str) -> RunFiles:
    return RunFiles(runs / name / "seed1993")


def test_a_run_leaves_what_its_method_has(runs: Path) -> None:
    for name in VARIANTS:
        found = files(runs, name).diagnostics(1)
        expected = {"keys", "injected_norm", "attention_norm"}
        expected |= {"test.features", "test.labels"}
        if name != "starprompt-no-replay":
            expected |= {"train.features", "train.labels"}
        assert set(found) == expected, name
        assert len(found["keys"]) == 6
        assert found["injected_norm"].shape == found["attention_norm"].shape == (4,)
        assert set(found["test.labels"]) == {2, 3, 4, 5}
    first = files(runs, "starprompt-first-stage").diagnostics(2)
    assert set(first) == {
        "keys",
        *(f"{s}.{x}" for s in ("train", "test") for x in ("features", "labels")),
    }


def test_the_record_sums_up_what_was_watched(runs: Path) -> None:
    signatures = files(runs, "starprompt").record.extra["signatures"]
    assert len(signatures["tasks"]) == 3
    assert set(signatures["tasks"][0]) == set(Thresholds.model_fields) - {"selection_confusion"}
    assert set(signatures["tasks"][1]) == set(Thresholds.model_fields)
    assert signatures["thresholds"] == Thresholds().model_dump()
    selection = files(runs, "starprompt").selection
    last = selection[selection["after_task"] == 2]
    own = files(runs, "starprompt").task_of_class
    old = last[own[last["true_class"]] < 2]
    newer = (own[old["chosen_class"]] > own[old["true_class"]]).mean()
    assert signatures["tasks"][2]["selection_confusion"] == pytest.approx(newer)
    without = files(runs, "starprompt-no-replay").record.extra["signatures"]["tasks"][0]
    assert set(without) == {"residual_saturation"}


def test_frozen_keys_stay_and_free_keys_turn(runs: Path) -> None:
    for name, moves in [("starprompt", False), ("starprompt-learned-keys", True)]:
        keys = [files(runs, name).diagnostics(task)["keys"] for task in range(3)]
        assert (not np.array_equal(keys[0], keys[2][:2])) == moves
        assert np.allclose(np.linalg.norm(keys[2], axis=1), 1, atol=1e-5)


def test_a_prefix_costs_more_operations_than_a_residual(runs: Path) -> None:
    counted = {
        name: float(files(runs, name).diagnostics(2)["train_operations"])
        for name in ("starprompt", "starprompt-prefix", "starprompt-post-attention")
    }
    assert counted["starprompt-prefix"] > counted["starprompt"]
    # a clean query is read from the cache: a step without CLIP's image tower
    assert counted["starprompt-post-attention"] < counted["starprompt"]


def test_all_analyses_of_real_runs_have_rows_and_finite_numbers(runs: Path) -> None:
    methods = [*VARIANTS, "starprompt-first-stage"]
    tables = analyse(runs, methods, [1993], "starprompt", None, Thresholds())
    for name, table in tables.items():
        assert len(table), name
    assert set(tables["key-drift"]["method"]) == set(VARIANTS)
    assert set(tables["mixtures"]["space"]) == {"clip", "vit"}
    drift = tables["key-drift"].groupby("method")["drift"].max()
    assert drift["starprompt-learned-keys"] > 1e-4 > drift["starprompt"]
    for name in ("selection", "confusion", "signatures", "replay-quality", "layers"):
        assert np.isfinite(tables[name].select_dtypes("number")).all(axis=None), name
    epochs = tables["convergence"].groupby("method")["accuracy"].max()
    assert 0 < epochs["starprompt"] <= 100


def test_being_looked_at_changes_nothing(stream: TaskStream, runs: Path) -> None:
    keys = runs / "starprompt-first-stage" / "seed1993"
    looked, left = (make(StarPrompt, stream, keys, **SECOND) for _ in range(2))
    for task in stream.tasks[:2]:
        learn(looked, task)
        looked.diagnostics(task)
        learn(left, task)
    for name, tensor in left.state_dict().items():
        assert torch.equal(tensor, looked.state_dict()[name]), name


def test_norms_are_those_of_what_is_added(stream: TaskStream) -> None:
    """A residual after attention has its own norm; in the values it goes through W_o; a prefix of
    values that no key asks for adds nothing."""
    vit = make(StarPrompt, stream, key_source="template").vit
    images, vector = torch.rand(3, 3, 64, 64), torch.randn(3, vit.dim)
    after, _ = vit.injected_norms(images, [Residual(vector, "post_attention")] * vit.depth)
    assert after == pytest.approx([float(vector.norm(dim=-1).mean())] * vit.depth, rel=1e-4)
    value, attended = vit.injected_norms(images, [Residual(vector, "value")] * vit.depth)
    through = [(vector @ block.attn.proj.weight.T).norm(dim=-1).mean() for block in vit.vit.blocks]
    assert value == pytest.approx([float(norm) for norm in through], rel=1e-4)
    assert (attended > 0).all()
    nothing = torch.zeros(3, 2, vit.dim)
    hidden = Prefix(nothing, nothing)
    changed, _ = vit.injected_norms(images, [hidden] * vit.depth)
    assert (changed > 0).all()  # attention to zeros takes weight from the image's own tokens


def test_selections_of_two_hundred_classes_and_twelve_layers_stay_small(tmp_path: Path) -> None:
    """Even where every choice and similarity is random, which packs worst."""
    images, layers, classes = 10_000, 12, 200
    labels = torch.arange(images) % classes
    chosen = torch.randint(classes, (images, layers))
    table = selection_table(
        9, torch.arange(images), labels, Selection(chosen, torch.rand(images, layers))
    )
    write_part(tmp_path / "part.parquet", [table], SELECTION_SCHEMA)
    assert isinstance(table, pa.Table) and len(table) == images * layers
    assert (tmp_path / "part.parquet").stat().st_size < 5e6
