"""What computing costs, counted instead of timed, so that two machines agree on it."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import (
    FlopCounterMode,
    sdpa_backward_flop_count,
    sdpa_flop_count,
)

from starprompt.continual.learner import Learner
from starprompt.data.stream import TaskData

#: images that operations are counted on
COUNTED = 8

Shape = Sequence[int]
T = TypeVar("T")


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _attention_backward(
    out: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any
) -> int:
    return int(sdpa_backward_flop_count(out, query, key, value))


def _whole_attention(
    query: Shape, key: Shape, value: Shape, width: int, heads: int, *_: Any, **__: Any
) -> int:
    """Self-attention with its projections, queries (B, n, width): 8 n width^2 + 4 n^2 width."""
    batch, tokens = query[:2]
    return batch * (8 * tokens * width**2 + 4 * tokens * key[1] * width)


#: attention as CPUs compute it, and PyTorch's fused module: its own counter does not see into them
_UNSEEN: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten._native_multi_head_attention: _whole_attention,
}


def counted(compute: Callable[[], T]) -> tuple[T, int]:
    """What ``compute`` gives, and the floating-point operations it took: two for each multiply
    and add.

    Matrix products, convolutions and attention are counted, element-wise work is not. Nothing is
    computed otherwise than without counting.
    """
    with FlopCounterMode(display=False, custom_mapping=_UNSEEN) as counter:
        result = compute()
    return result, int(counter.get_total_flops())


def operations(compute: Callable[[], object]) -> int:
    """Floating-point operations of what ``compute`` does; see :func:`counted`."""
    return counted(compute)[1]


class StepCounter:
    """Counts the operations of a task's second step that it is given: some methods replay nothing
    in their first. Counting takes a fraction of a second, so that once a task is enough.

    ``steps`` were taken before, and ``operations`` counted, where the task goes on.
    """

    def __init__(self, steps: int = 0, operations: int = 0) -> None:
        self._steps = steps
        self.operations = operations

    def take(self, step: Callable[[], T]) -> T:
        """Do ``step`` and give what it gives."""
        self._steps += 1
        if self._steps != 2:
            return step()
        result, self.operations = counted(step)
        return result


@torch.no_grad()
def forward_operations(learner: Learner, test: TaskData) -> int:
    """Floating-point operations that predicting one image takes, all encoders included.

    One image alone, because a method may let the images of a batch share what it computes. CLIP
    features come from a cache here; a new image would have to go through CLIP, so its image encoder
    is counted for every method that asks for them.
    """
    batch = next(iter(test.batches(1, inputs=learner.test_inputs)))
    count = operations(lambda: learner.predict(batch))
    if "features" in learner.test_inputs:
        images = next(iter(test.batches(1, inputs=("images",)))).images
        count += operations(lambda: learner.setting.clip().encode_images(images))
    return count
