"""One step of the second stage, ours compared with the released code's way.

    python benchmarks/second_stage_step.py                  # the tiny pair, on the CPU
    python benchmarks/second_stage_step.py --full           # ViT-B/16 and ViT-L/14, random weights

B images, C classes seen of which the last are current. The reference stands in `_reference.py`. On
a GPU --full is the default, ours runs in bfloat16, and the peaks of memory are printed too.
"""

import argparse
from types import SimpleNamespace

import torch
from _reference import CURRENT, Reference, fresh_learner
from _timing import best, peak_gb, report
from torch import Tensor

from starprompt.backbones.clip import load_clip
from starprompt.backbones.vit import load_vit
from starprompt.data.batch import Batch
from starprompt.machine.memory import available_bytes, plan
from starprompt.precision import products

BATCH, CLASSES = 128, 200
FULL = ("ViT-L-14-quickgelu/random", "vit_base_patch16_224/random")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--full", action="store_true", default=cuda)
    parser.add_argument("--precision", default="bf16" if cuda else "float32")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--repeats", type=int, default=10 if cuda else 3)
    options = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(2)
    clip_name, vit_name = FULL if options.full else ("tiny", "tiny")
    plain = load_clip(clip_name, device)
    rounded = (
        plain
        if options.precision == "float32"
        else load_clip(clip_name, device, precision=options.precision)
    )
    past = CLASSES - CURRENT
    contexts = 0.02 * torch.randn(CLASSES, plain.text_width, device=device)
    reference = Reference(plain, load_vit(vit_name, device), CLASSES, contexts)
    reference.begin_task(past, CLASSES, lr=0.001)
    ours = fresh_learner(
        rounded,
        vit_name,
        CLASSES,
        reference.keys(),
        device,
        options.precision,
        batch_size=options.batch,
    )
    with torch.no_grad():  # both from the same start
        ours.pool.prompts.copy_(torch.stack([p.detach() for p in reference.prompts]))
        ours.pool.query_weights.copy_(torch.stack([w.detach() for w in reference.weights]))
        ours.head.load_state_dict(reference.head.state_dict())
    ours.begin_task(SimpleNamespace(past_classes=past, seen_classes=CLASSES))

    size = ours.setting.stream.image_size
    images = torch.rand(options.batch, 3, size, size, device=device)
    labels = torch.randint(past, CLASSES, (options.batch,), device=device)
    batch = Batch(torch.arange(options.batch, device=device), labels, images)
    normalised = ours.setting.vit_normalisation(images)
    weight = ours.hp.orthogonality
    planned = plan(
        ours.memory_need(),
        available_bytes(device),
        options.batch,
        "auto",
        splits=True,
        where="ours",
        device=device,
    )
    ours.micro_batch = None if planned.micro_batch == options.batch else planned.micro_batch

    def their_step() -> Tensor:
        return reference.step(images, normalised, labels, weight)

    def our_step() -> Tensor:
        with products(options.precision):
            return ours.train_step(batch)["loss"]

    with products("float32"):
        their_loss, our_loss = float(their_step()), float(our_step())
        peaks = {"reference": peak_gb(their_step, device), "ours": peak_gb(our_step, device)}
        theirs = best(their_step, options.repeats, device, wall=True)
        query, keys = reference.query(images), reference.keys()
        retrieval = len(reference.prompts) * best(
            lambda: reference.retrieved(0, query, keys), 2, device, wall=True
        )
        texts = best(reference.keys, 2, device, wall=True)
        mine = best(our_step, options.repeats, device, wall=True)
    print(
        f"B {options.batch}, C {CLASSES} ({CURRENT} current), CLIP {clip_name}, ViT {vit_name}, "
        f"{device}"
    )
    print(f"  reference  {1e3 * theirs:9.1f} ms (forward of its retrieval {1e3 * retrieval:.1f},")
    print(f"             of its keys {1e3 * texts:.1f}), float32, peak {peaks['reference']:.1f} GB")
    print(f"  ours       {1e3 * mine:9.1f} ms, {options.precision}, peak {peaks['ours']:.1f} GB")
    print(f"  first losses {their_loss:.6f} and {our_loss:.6f}")
    report(
        "second_stage_step",
        round(theirs / mine, 2),
        naive_ms=round(1e3 * theirs, 2),
        ours_ms=round(1e3 * mine, 2),
        images_a_second=round(options.batch / mine, 1),
        peak_gb={name: round(value, 2) for name, value in peaks.items()},
        micro_batch=planned.micro_batch,
        precision=options.precision,
        loss_difference=abs(their_loss - our_loss) / abs(their_loss),
        device=str(device),
        threads=torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
