"""The best rate of matrix products on the device, and the second-stage step's share of it.

The ceiling is the best of square products of several sizes, in float32 and in bfloat16. The step
is the second stage's own, query by frozen CLIP on the augmented view included, forward, backward
and optimiser, on random images; its operations are counted as it runs. On a GPU ViT-B/16 and
ViT-L/14 at batch 128 in bfloat16; on the CPU the tiny pair at batch 128 and ViT-S/16 with ViT-B/32
at batch 4, both in float32, one thread and its CPU time. The last line's ratio is the share of the
last step.
"""

from collections.abc import Callable
from functools import partial

import torch
from _timing import best_within, report

from starprompt.backbones.clip import load_clip
from starprompt.backbones.vit import load_vit, vit_normalisation
from starprompt.continual.flops import operations
from starprompt.continual.learner import Setting
from starprompt.continual.seeding import seed_everything
from starprompt.data.batch import Batch, Normalisation, StreamInfo
from starprompt.data.stream import Task
from starprompt.method.starprompt import StarPrompt
from starprompt.precision import products

TERA = 1e12
CLASSES, CURRENT = 200, 20
#: (ViT, CLIP, batch, precision)
Case = tuple[str, str, int, str]
FULL: list[Case] = [
    ("vit_base_patch16_224/random", "ViT-L-14-quickgelu/random", 128, "bf16"),
]
SMALL: list[Case] = [
    ("tiny", "tiny", 128, "float32"),
    ("vit_small_patch16_224/random", "ViT-B-32/random", 4, "float32"),
]


def ceiling(dtype: torch.dtype, device: torch.device) -> float:
    """TFLOP/s of the best square product."""
    best = 0.0
    for size in (4096, 8192, 16384) if device.type == "cuda" else (512, 1024):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        took = best_within(partial(torch.matmul, a, b, out=out), 1.0, device)
        best = max(best, 2 * size**3 / took / TERA)
    return best


def step_of(case: Case, device: torch.device) -> tuple[Callable[[], object], int]:
    """A training step with CLASSES classes seen, CURRENT of them the task's, and its batch."""
    vit, clip_name, batch, precision = case
    seed_everything(0, "setup")
    clip = load_clip(clip_name, device, precision=precision)
    names = tuple(f"thing {i}" for i in range(CLASSES))
    side = 64 if vit == "tiny" else 224
    info = StreamInfo("random", names, (CLASSES - CURRENT, CLASSES), side, Normalisation())
    setting = Setting(
        stream=info,
        device=device,
        seed=0,
        vit=lambda: load_vit(vit, device, precision=precision),
        clip=lambda: clip,
        vit_normalisation=vit_normalisation(vit),
        precision=precision,
    )
    learner = StarPrompt(
        StarPrompt.Hyperparameters(batch_size=batch, key_source="template"), setting
    )
    nothing: list[int] = []
    learner.begin_task(
        Task(1, CLASSES - CURRENT, CLASSES, nothing, nothing, "task")  # type: ignore[arg-type]
    )
    images = torch.rand(batch, 3, side, side, device=device)
    labels = torch.randint(CLASSES - CURRENT, CLASSES, (batch,), device=device)
    given = Batch(ids=torch.arange(batch, device=device), labels=labels, images=images)
    return partial(learner.train_step, given), batch


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    ceilings = {
        name: ceiling(dtype, device)
        for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16))
    }
    for name, value in ceilings.items():
        print(f"{device.type}, matrix products in {name}: {value:.3f} TFLOP/s")
    shares, rows = [], []
    for case in FULL if device.type == "cuda" else SMALL:
        with products(case[3]):
            step, batch = step_of(case, device)
            counted = operations(step)
            took = best_within(step, 4.0, device)
        rate = counted / took / TERA
        shares.append(rate / ceilings[case[3]])
        rows.append(
            {
                "vit": case[0],
                "clip": case[1],
                "batch": batch,
                "precision": case[3],
                "step_seconds": round(took, 4),
                "step_operations": counted,
                "tflops": round(rate, 4),
                "share": round(shares[-1], 4),
            }
        )
        print(
            f"  {case[0]} with CLIP {case[1]}, batch {batch}, {case[3]}: {1e3 * took:.1f} ms, "
            f"{counted / 1e9:.1f} GFLOP, {rate:.3f} TFLOP/s, {100 * shares[-1]:.0f}% of the ceiling"
        )
    report(
        "matmul_ceiling",
        round(shares[-1], 4),
        ceiling_tflops={name: round(value, 4) for name, value in ceilings.items()},
        device=device.type,
        steps=rows,
    )


if __name__ == "__main__":
    main()
