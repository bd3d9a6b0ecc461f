"""What an experiment's ``precision`` means: the number format that products are computed in.

    float32   products of float32 numbers, convolutions included
    tf32      the same tensors; GPUs that can round the factors of a product to TF32's ten bits
    bf16      the image encoders (the ViT, frozen or trained, and CLIP's) under bfloat16 autocast,
              and TF32 for what stays float32

In all three parameters, their gradients, the optimiser's state and an encoder's outputs are
float32, and so are softmax, norms, losses and statistics. What decides by small differences
(retrieval's cosines, orthogonality, mixtures, head alignment) multiplies :func:`exactly` even
under TF32.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from starprompt.errors import UserError

PRECISIONS = ("float32", "tf32", "bf16")


def require_precision(precision: str, device: torch.device | None = None) -> str:
    """``precision`` if there is one of that name and ``device`` has it, else :class:`UserError`."""
    if precision not in PRECISIONS:
        raise UserError(
            f"precision {precision!r} is unknown; choose one of {', '.join(PRECISIONS)}."
        )
    if device is not None and device.type == "cuda" and precision == "bf16":
        with torch.cuda.device(device):
            if not torch.cuda.is_bf16_supported(including_emulation=False):
                raise UserError(
                    f"{torch.cuda.get_device_name(device)} does not compute in bfloat16; write "
                    "precision: float32 (or tf32) in the experiment."
                )
    return precision


@contextmanager
def products(precision: str) -> Iterator[None]:
    """How float32 products are computed meanwhile; what was set before holds again afterwards.

    torch leaves convolutions in TF32 by default, so each precision sets both switches.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    rounded = require_precision(precision) != "float32"
    try:
        torch.set_float32_matmul_precision("high" if rounded else "highest")
        torch.backends.cudnn.allow_tf32 = rounded
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@contextmanager
def exactly() -> Iterator[None]:
    """Products of float32 numbers as such, whatever the run's precision. A decorator as well."""
    with products("float32"):
        yield


def in_tower(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """What an image encoder's forward pass runs under; its backward pass follows by itself."""
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
