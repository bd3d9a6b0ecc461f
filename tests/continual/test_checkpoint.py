"""A learner's state as a file."""

import os
from pathlib import Path

import pytest
import torch

from starprompt.continual.checkpoint import WorkFolder, load_state, pack_state
from starprompt.errors import UserError


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
    with pytest.raises(UserError, match=r"state\.safetensors is missing or incomplete"):
        load_state(path, torch.device("cpu"))


@pytest.mark.parametrize("name", ["run.json", "task-000/outcome.json", "under-way/place.json"])
@pytest.mark.parametrize("kind", ["nested", "pipe", "device"])
def test_a_note_of_an_unfinished_run_that_cannot_be_read_is_as_none(
    tmp_path: Path, name: str, kind: str
) -> None:
    work = tmp_path / "work"
    WorkFolder(work, "f")
    path = work / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "nested":
        path.write_text("[" * 100_000)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    again = WorkFolder(work, "f")
    assert again.outcomes == []
    assert (work / "run.json").is_file()
