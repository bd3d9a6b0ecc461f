"""What the two stages take: parameters counted by hand, and bytes that grow with what they hold."""

from pathlib import Path

import pytest

from starprompt.data.stream import TaskStream
from starprompt.method.first_stage import FirstStage
from starprompt.method.memory import (
    first_stage_parameters,
    second_stage_memory,
    second_stage_parameters,
)
from starprompt.method.starprompt import StarPrompt
from tests.helpers.small_stream import make

LAYERS, DIM, CLASSES = 4, 96, 10  # of the tiny ViT, and of the digits


def test_a_first_stage_trains_a_context_a_class_and_stores_nothing_yet(stream: TaskStream) -> None:
    learner = make(FirstStage, stream)
    counted = first_stage_parameters(learner)  # type: ignore[arg-type]
    assert counted == {"trained": CLASSES * 64, "stored": 0}


def test_a_second_stage_trains_prompts_query_weights_head_and_free_keys(
    stream: TaskStream, keys: Path
) -> None:
    query = 128
    expected = LAYERS * CLASSES * (DIM + query) + CLASSES * (DIM + 1)
    learner = make(StarPrompt, stream, keys)
    assert second_stage_parameters(learner) == {"trained": expected, "stored": 0}  # type: ignore[arg-type]
    learned = make(StarPrompt, stream, key_source="learned")
    trained = second_stage_parameters(learned)["trained"]  # type: ignore[arg-type]
    assert trained == expected + CLASSES * query
    prefix = make(StarPrompt, stream, keys, injection="prefix", prefix_length=3)
    trained = second_stage_parameters(prefix)["trained"]  # type: ignore[arg-type]
    assert trained == expected + LAYERS * CLASSES * (6 - 1) * DIM


def test_learning_is_adams_four_copies_of_the_largest_tasks_parameters(
    stream: TaskStream, keys: Path
) -> None:
    need = second_stage_memory(make(StarPrompt, stream, keys))  # type: ignore[arg-type]
    current = 6  # of the tasks of 2, 2 and 6 classes
    numbers = LAYERS * current * (DIM + 128) + CLASSES * (DIM + 1)
    assert need.learning == 4 * 4 * numbers


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ({"injection": "prefix"}, "image"),
        ({"batch_size": 256}, "step"),
        ({"components": 9}, "parameters"),
    ],
)
def test_more_of_something_takes_more_memory(
    stream: TaskStream, keys: Path, option: dict, field: str
) -> None:
    plain = second_stage_memory(make(StarPrompt, stream, keys))  # type: ignore[arg-type]
    more = second_stage_memory(make(StarPrompt, stream, keys, **option))  # type: ignore[arg-type]
    assert getattr(more, field) > getattr(plain, field)


def test_a_mixtures_component_has_means_variances_and_a_weight(
    stream: TaskStream, keys: Path
) -> None:
    five, six = (
        second_stage_memory(make(StarPrompt, stream, keys, components=m))  # type: ignore[arg-type]
        for m in (5, 6)
    )
    assert six.parameters - five.parameters == 4 * CLASSES * (2 * DIM + 1)
