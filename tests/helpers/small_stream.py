"""The small stream that a method's contract is judged on, for other tests."""

from starprompt.training.small_stream import (
    CPU,
    digits,
    embedding,
    images_of,
    learn,
    make,
    prepared,
    small_stream,
    take_steps,
)

SPEC = digits()

__all__ = [
    "CPU",
    "SPEC",
    "embedding",
    "images_of",
    "learn",
    "make",
    "prepared",
    "small_stream",
    "take_steps",
]
