"""What a finished run depends on: stable while the code is rearranged."""

import hashlib
import json
from pathlib import Path

import pytest

from starprompt.backbones import tiny
from starprompt.config.experiment import load_config
from starprompt.grid.jobs import FIRST_OF_ALL, STEPS_OF_PRIORITY, Grid, from_command_line
from tests.helpers.paths import GOLDEN, REPOSITORY

BEFORE: dict[str, str] = json.loads((GOLDEN / "run-depends.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def grid() -> Grid:
    return Grid(load_config(REPOSITORY / "config" / "demo.yaml"))


@pytest.mark.parametrize("method", BEFORE)
def test_a_run_finished_before_the_code_moved_still_counts(grid: Grid, method: str) -> None:
    text = grid.run_depends("digits", method)
    assert hashlib.sha256(text.encode()).hexdigest() == BEFORE[method]


def test_numerics_have_features_and_runs_of_their_own() -> None:
    """In the workflow's eyes too; what native runs depend on is held in tests/golden."""
    native = load_config(Path("config/demo.yaml"))
    grids = [Grid(native)]
    for change in ({"numerics": "portable"}, {"deterministic": True}):
        grids.append(Grid(native.model_copy(update=change)))
    assert len({grid.run_depends("digits", "joint") for grid in grids}) == 3
    assert len({grid.embed_depends("digits") for grid in grids}) == 3
    assert grids[0].embedding_file("digits").endswith("/digits/tiny.safetensors")
    assert grids[1].embedding_file("digits").endswith("/digits/tiny.portable.safetensors")
    half = Grid(native.model_copy(update={"precision": "bf16"}))
    assert half.embedding_file("digits").endswith("/digits/tiny.bf16.safetensors")


def test_a_pair_trained_anew_makes_features_and_runs_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(load_config(Path("config/demo.yaml")))
    before = grid.embed_depends("digits"), grid.run_depends("digits", "joint")
    monkeypatch.setattr(tiny, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "tiny-clip.safetensors").write_bytes(b"other")
    (tmp_path / "tiny-vit.safetensors").write_bytes(b"weights")
    grid = Grid(load_config(Path("config/demo.yaml")))  # as the next call reads it
    assert grid.embed_depends("digits") != before[0]
    assert grid.run_depends("digits", "joint") != before[1]


def test_the_command_lines_values_are_read_as_a_file_is() -> None:
    given = {"seeds": ["1993", "012", "1e3", "yes", "2026-01-01"]}
    assert from_command_line(given) == {"seeds": [1993, "012", 1000.0, "yes", "2026-01-01"]}


def test_an_order_seed_is_in_what_a_run_depends_on_only_where_there_is_one(grid: Grid) -> None:
    given = Grid(grid.config.model_copy(update={"order_seed": 7}))
    plain = grid.run_depends("digits", "starprompt")
    assert "order_seed" not in plain
    assert given.run_depends("digits", "starprompt") != plain
    assert given.config.ordering(7) == {} and given.config.ordering(8) == {"order_seed": 7}


def test_of_the_jobs_that_could_start_the_longest_goes_first(grid: Grid) -> None:
    keys, waiting, others = sorted(grid.train_rules(), key=lambda rule: -rule.priority)
    of = {m: grid.run_priority(others, "digits", m) for m in others.methods}
    assert sorted(of, key=of.__getitem__)[-2:] == ["finetune", "joint"], of
    assert all(
        max(of.values())
        < grid.run_priority(waiting, "digits", second)
        < grid.run_priority(keys, "digits", first)
        < FIRST_OF_ALL
        for second in waiting.methods
        for first in keys.methods
    )


def test_a_backbone_of_unknown_cost_leaves_a_rules_own_priority(grid: Grid) -> None:
    strange = grid.config.backbones.model_copy(update={"vit": "vit_of_nobody"})
    unknown = Grid(grid.config.model_copy(update={"backbones": strange}))
    rule = next(rule for rule in unknown.train_rules() if "finetune" in rule.methods)
    assert unknown.run_priority(rule, "digits", "finetune") == STEPS_OF_PRIORITY * rule.priority
