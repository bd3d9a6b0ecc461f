"""Seeds, devices, environment, losses and the rows that evaluation leaves behind."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from starprompt.continual.checkpoint import load_state, pack_state
from starprompt.continual.learner import Selection
from starprompt.continual.losses import LossWatch
from starprompt.continual.prediction_files import (
    PREDICTION_SCHEMA,
    SELECTION_SCHEMA,
    merge_parts,
    prediction_table,
    selection_table,
    write_part,
)
from starprompt.continual.seeding import derive_seed, seed_everything
from starprompt.errors import UserError
from starprompt.machine import devices, environment
from starprompt.record.record import PREDICTION_COLUMNS, SELECTION_COLUMNS

parts = st.lists(st.integers(-5, 2**40) | st.text(max_size=5), max_size=4)


# seeds


@given(parts, parts)
def test_seeds_differ_exactly_where_their_parts_do(a: list[int | str], b: list[int | str]) -> None:
    assert 0 <= derive_seed(*a) < 2**63
    assert (derive_seed(*a) == derive_seed(*b)) == (a == b)


def test_seeds_stay_as_they_were() -> None:
    """Results of earlier versions can only be had again while these numbers stand."""
    assert derive_seed(1993, "setup") == 5778607047310480838
    assert derive_seed(np.int64(1993), "setup") == derive_seed(1993, "setup")


def test_seeding_reaches_every_global_generator() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    seed_everything(1, "task", 0)
    first = draw()
    second = draw()
    seed_everything(1, "task", 0)
    assert draw() == first
    assert all(a != b for a, b in zip(first, second, strict=True))


# devices


def test_auto_is_cuda_only_where_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert devices.pick_device("auto").type == expected
    assert devices.pick_device("cpu") == torch.device("cpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device: cuda"):
        devices.pick_device("cuda")
    with pytest.raises(UserError, match="did you mean 'cuda'"):
        devices.pick_device("cude")


def test_the_description_names_type_and_threads() -> None:
    about = devices.describe_device(torch.device("cpu"))
    assert about["type"] == "cpu" and about["name"]
    assert about["threads"] == torch.get_num_threads()


def test_peak_memory_of_the_cpu_is_in_bytes_and_only_grows() -> None:
    before = devices.peak_memory_bytes(torch.device("cpu"))
    block = bytearray(os.urandom(1) * (before + 32 * 2**20))
    after = devices.peak_memory_bytes(torch.device("cpu"))
    assert after - before > 16 * 2**20
    del block
    assert devices.peak_memory_bytes(torch.device("cpu")) >= after


def test_threads_must_be_positive() -> None:
    with pytest.raises(UserError, match="at least 1"):
        devices.use_threads(0)


# environment


def test_versions_name_the_libraries_that_are_loaded() -> None:
    found = environment.versions()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] in torch.__version__
    assert found["numpy"] == np.__version__
    assert set(environment.PACKAGES) < set(found)


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_revision_says_when_tracked_files_differ(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "a.py").write_text("1")
    _git(tmp_path, "init")
    assert environment.git_revision.__wrapped__(package) == "unknown"  # nothing tracked there
    _git(tmp_path, "add", "package/a.py")
    _git(tmp_path, "commit", "-m", "one")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    assert environment.git_revision.__wrapped__(package) == commit
    (package / "new.py").write_text("not tracked")
    assert environment.git_revision.__wrapped__(package) == commit
    (package / "a.py").write_text("2")
    assert environment.git_revision.__wrapped__(package) == commit + "-dirty"


def test_the_revision_is_unknown_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment.git_revision.__wrapped__(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", "")
    assert environment.git_revision.__wrapped__(Path(__file__).parent) == "unknown"


def test_the_source_digest_follows_imports_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "toy_methods"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text("from .shared import helper\nimport numpy\n")
    (package / "shared.py").write_text("def helper(): ...\n")
    (package / "other.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    first = environment.source_digest("toy_methods.mine")
    assert first == environment.source_digest("toy_methods.mine")
    (package / "other.py").write_text("x = 2\n")
    assert environment.source_digest("toy_methods.mine") == first
    (package / "shared.py").write_text("def helper(): return 1\n")
    assert environment.source_digest("toy_methods.mine") != first


# losses


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=120), st.integers(1, 60))
def test_means_do_not_depend_on_when_losses_are_read(values: list[float], every: int) -> None:
    watch = LossWatch("a run", read_every=every)
    for step, value in enumerate(values):
        watch.add(step, {"loss": torch.tensor(value, dtype=torch.float64)})
    assert watch.means() == {"loss": pytest.approx(sum(values) / len(values), abs=1e-9)}


@given(
    st.integers(1, 130), st.integers(0, 129), st.sampled_from(["nan", "inf"]), st.integers(1, 60)
)
def test_the_first_bad_step_is_named(n: int, bad: int, kind: str, every: int) -> None:
    watch = LossWatch("m on d, task 2 of 5, epoch 3 of 4", read_every=every)

    def feed() -> None:
        for step in range(n):
            other = float(kind) if step >= bad else 1.0
            watch.add(step, {"loss": torch.tensor(1.0), "other": torch.tensor(other)})
        watch.means()

    if bad >= n:
        feed()
    else:
        with pytest.raises(UserError, match=rf"task 2 of 5, epoch 3 of 4, step {bad + 1};"):
            feed()


def test_what_is_no_scalar_loss_is_refused() -> None:
    watch = LossWatch("a run")
    with pytest.raises(UserError, match='"loss" among them'):
        watch.add(0, {"cross_entropy": torch.tensor(1.0)})
    with pytest.raises(UserError, match="must be a scalar"):
        watch.add(0, {"loss": torch.ones(3)})


def test_losses_keep_no_graph() -> None:
    weight = torch.ones((), requires_grad=True)
    watch = LossWatch("a run")
    watch.add(0, {"loss": weight * 2})
    assert not any(value.requires_grad for _, losses in watch._pending for value in losses.values())


# rows


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


# states


def test_a_state_comes_back_as_it_went(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    state = {"a": shared, "tied": shared, "view": shared.T, "half": shared.bfloat16(), "n": shared}
    state["n"] = torch.tensor(3)
    path = tmp_path / "state.safetensors"
    path.write_bytes(pack_state(state))
    again = load_state(path, torch.device("cpu"))
    assert again.keys() == state.keys()
    for name, value in state.items():
        assert again[name].dtype == value.dtype and torch.equal(again[name], value)


def test_a_method_without_anything_learned_has_an_empty_state(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(pack_state({}))
    assert load_state(path, torch.device("cpu")) == {}


def test_a_state_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'seen' of type int"):
        pack_state({"seen": 3})  # type: ignore[dict-item]
    path = tmp_path / "state.safetensors"
    with pytest.raises(UserError, match=r"state\.safetensors is missing"):
        load_state(path, torch.device("cpu"))
    path.write_bytes(b"not a checkpoint at all")
    with pytest.raises(UserError, match=r"state\.safetensors is missing or not a whole"):
        load_state(path, torch.device("cpu"))


def test_the_deterministic_setting_is_made_before_cublas_reads_it() -> None:
    program = (
        "import os, torch; from starprompt.machine import devices;"
        "devices.use_deterministic_algorithms();"
        "assert torch.are_deterministic_algorithms_enabled();"
        "assert os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
