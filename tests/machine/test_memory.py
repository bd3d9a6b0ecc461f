"""The memory rule: what a run says it needs, and batches that are split without a trace."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.finetune import Finetune
from starprompt.continual.runner import run
from starprompt.data.stream import TaskStream
from starprompt.errors import UserError
from starprompt.machine import memory
from starprompt.machine.memory import MemoryNeed, available_bytes, gigabytes, plan
from starprompt.method.starprompt import StarPrompt
from starprompt.record.record import read_record
from tests.helpers.continual_toy import header_of
from tests.helpers.small_stream import CPU, make, small_stream

STAR = {"epochs": 1, "batch_size": 16, "replay_epochs": 1, "replay_samples": 8}


@pytest.fixture(scope="module")
def stream() -> TaskStream:
    return small_stream([2, 2, 6])


@given(
    fixed=st.integers(0, 1000),
    image=st.integers(1, 100),
    batch=st.integers(1, 300),
    available=st.integers(0, 20000),
)
def test_auto_takes_the_fewest_micro_batches_that_fit(
    fixed: int, image: int, batch: int, available: int
) -> None:
    need = MemoryNeed(fixed, image=image)
    usable = int(memory.USABLE * available)

    def choose() -> int:
        return plan(need, available, batch, "auto", splits=True, where="w", device=CPU).micro_batch

    if need.of(1) > usable:
        with pytest.raises(UserError, match="for a single image"):
            choose()
        return
    size = choose()
    parts = -(-batch // size)
    assert need.of(size) <= usable
    assert parts == 1 or need.of(-(-batch // (parts - 1))) > usable


def test_the_demo_is_not_split(stream: TaskStream) -> None:
    learner = make(StarPrompt, stream, key_source="template", **STAR)
    chosen = plan(
        learner.memory_need(), available_bytes(CPU), 16, "auto", splits=True, where="w", device=CPU
    )
    assert chosen.micro_batch == 16
    assert 1e6 < chosen.need.of(16) < 1e9


def learn(folder: Path, stream: TaskStream, micro_batch: Any = "auto", **hp: Any) -> Any:
    options = {**STAR, "key_source": "template", **hp}
    header = header_of(stream, StarPrompt, StarPrompt.Hyperparameters(**options), stream.seed)
    return run(
        lambda: make(StarPrompt, stream, micro_batch=micro_batch, **options),
        stream,
        folder,
        header=header,
        device=CPU,
        progress=False,
    )


def test_a_run_that_is_short_of_memory_splits_and_says_so(
    stream: TaskStream,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    need = make(StarPrompt, stream, key_source="template", **STAR).memory_need()
    whole = learn(tmp_path / "whole", stream)
    assert whole.extra["memory"]["micro_batch"] == 16
    monkeypatch.setattr(memory, "available_bytes", lambda device: int(need.of(7) / memory.USABLE))
    with caplog.at_level(logging.INFO):
        split = learn(tmp_path / "split", stream)
    assert "batches of 16 in 3 micro-batches" in caplog.text
    assert gigabytes(need.parameters) in caplog.text
    assert split.extra["memory"]["micro_batch"] == 6
    assert read_record(tmp_path / "split" / "record.json").extra["memory"]["image"] == need.image
    for ours, theirs in zip(split.losses, whole.losses, strict=True):
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-3, abs=1e-4)
    asked = learn(tmp_path / "asked", stream, micro_batch=4)
    assert asked.extra["memory"]["micro_batch"] == 4


def test_where_no_image_fits_one_sentence_says_so(
    stream: TaskStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2_000_000)
    with pytest.raises(UserError, match="for a single image, and cpu has 2") as error:
        learn(tmp_path, stream)
    assert str(error.value).count(". ") == 0


def test_a_method_that_splits_nothing_is_warned(
    stream: TaskStream, caplog: pytest.LogCaptureFixture
) -> None:
    learner = make(Finetune, stream, batch_size=16)
    need = learner.memory_need()
    trained = 4 * learner.parameter_counts()["trained"]
    assert need.parameters == trained and need.learning == 3 * trained
    assert need.image > 1e5
    with caplog.at_level(logging.INFO):
        chosen = plan(need, need.of(8), 16, 4, splits=False, where="w", device=CPU)
    assert chosen.micro_batch == 16
    assert "micro_batch is ignored" in caplog.text and "may not fit" in caplog.text


def test_what_the_cpu_has_is_between_what_we_hold_and_what_is_built_in() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 1e8 < available_bytes(CPU) < 1.1 * total


@pytest.mark.parametrize(
    ("groups", "folder", "limit", "used"),
    [
        ("0::/jobs/one\n", "sys/fs/cgroup/jobs", "memory.max", "memory.current"),
        (
            "9:name=x:/\n4:memory:/jobs/one\n0::/\n",
            "sys/fs/cgroup/memory/jobs/one",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
        ),
    ],
)
def test_a_control_groups_limit_counts(
    groups: str, folder: str, limit: str, used: str, tmp_path: Path
) -> None:
    place = tmp_path / folder
    place.mkdir(parents=True)
    (place / limit).write_text("1000\n")
    (place / used).write_text("700\n")
    (place / "memory.stat").write_text("anon 300\ninactive_file 250\n")
    assert memory._control_group_room(groups, tmp_path) == [550]
    (place / limit).write_text("max\n")
    assert memory._control_group_room(groups, tmp_path) == []
    assert memory._control_group_room("", tmp_path) == []
