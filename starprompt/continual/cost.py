"""What a prediction costs, counted instead of timed, so that two machines agree on it."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from starprompt.continual.learner import Learner
from starprompt.data.stream import TaskData

#: images that operations are counted on
COUNTED = 8


def operations(compute: Callable[[], object]) -> int:
    """Floating-point operations of what ``compute`` does: two for each multiply and add.

    Matrix products, convolutions and attention are counted, element-wise work is not. PyTorch's
    fused attention module, which the counter can't see into, is switched off meanwhile.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter:
            compute()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops()


@torch.no_grad()
def forward_operations(learner: Learner, test: TaskData) -> int:
    """Floating-point operations that predicting one image takes, all encoders included.

    CLIP features come from a cache here; a new image would have to go through CLIP, so its image
    tower is counted for every method that asks for them.
    """
    batch = next(iter(test.batches(COUNTED, inputs=learner.test_inputs)))
    count = operations(lambda: learner.predict(batch))
    if "features" in learner.test_inputs:
        images = next(iter(test.batches(COUNTED, inputs=("images",)))).images
        count += operations(lambda: learner.setting.clip().encode_images(images))
    return round(count / len(batch))
