"""Training speed of each method in images per second, with full-size random weights.

    python benchmarks/training_speed.py                    # a CPU: the tiny pair, three methods
    python benchmarks/training_speed.py --device cuda      # all methods, ViT-B/16 and ViT-L/14

The last line's ratio is STAR-Prompt's speed over that of the fastest method shown.

One task of 20 classes of random images is learned for one epoch after a warm-up of the same task.
"images/s" is the number of training images over the time of the loop of batches, including
augmentation; "end" is the time of the end of a task. Methods without a loop have a dash.
"""

import argparse
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch
from _timing import report

from starprompt.backbones.clip import load_clip
from starprompt.backbones.embedding import write_embedding
from starprompt.backbones.vit import load_vit, vit_normalisation
from starprompt.config.experiment import Config, load_config
from starprompt.config.methods import check_hyperparameters, learner_class, load_method
from starprompt.continual.learner import Learner, Setting
from starprompt.continual.seeding import seed_everything
from starprompt.data.registry import load_dataset_spec
from starprompt.data.store import PreparedDataset, Split
from starprompt.data.stream import Task, TaskStream
from starprompt.data.transforms import TestView
from starprompt.machine.devices import synchronize
from starprompt.precision import products

CLASSES, IMAGES = 20, 640

#: methods without `--methods` on a CPU, where all would take minutes
FEW = ("starprompt", "linear-probe", "finetune")


def random_data(size: int) -> PreparedDataset:
    """IMAGES training images and as many test images, of CLASSES classes."""
    random = np.random.default_rng(0)
    labels = np.arange(IMAGES) % CLASSES
    images = random.integers(0, 256, (IMAGES, 3, size, size), dtype=np.uint8)
    split = Split(images, labels, np.full((IMAGES, 2), size, dtype=np.int32))
    names = tuple(f"class {i}" for i in range(CLASSES))
    return PreparedDataset("random", Path(), names, {"digest": "random"}, split, split)


def learn_once(learner: Learner, task: Task, device: torch.device) -> tuple[float, float, int]:
    """Seconds of one epoch's loop, seconds of the task's end, images in the loop."""
    learner.begin_task(task)
    synchronize(device)
    started, images = time.perf_counter(), 0
    if learner.epochs:
        learner.begin_epoch(0)
        for batch in task.train.batches(
            learner.batch_size,
            inputs=learner.train_inputs,
            augment=learner.augment,
            shuffle=True,
        ):
            learner.train_step(batch)
            images += len(batch)
    synchronize(device)
    looped = time.perf_counter()
    learner.end_task(task)
    synchronize(device)
    return looped - started, time.perf_counter() - looped, images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    cuda = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--vit", default="vit_base_patch16_224/random" if cuda else "tiny")
    parser.add_argument("--clip", default="ViT-L-14-quickgelu/random" if cuda else "tiny")
    parser.add_argument("--precision", default="bf16" if cuda else "float32")
    parser.add_argument("--config", type=Path, default=Path("config/paper.yaml"))
    parser.add_argument("--methods", nargs="*")
    options = parser.parse_args()
    config: Config = load_config(options.config)
    device = torch.device(options.device)
    clip = cache(lambda: load_clip(options.clip, device, precision=options.precision))
    dataset = "digits" if options.vit == "tiny" else "imagenet-r"
    spec = load_dataset_spec(dataset).model_copy(update={"tasks": 2})
    data = random_data(spec.image_size)
    with tempfile.TemporaryDirectory() as folder:
        view = TestView(tuple(spec.test_transform))
        embedding = write_embedding(
            Path(folder) / "random.safetensors",
            clip(),
            data.train.images,
            data.test.images,
            view,
            data.digest,
            progress=False,
        )
        print(f"{device}, ViT {options.vit}, CLIP {options.clip}, {options.precision}\n")
        print("| method | images/s | end [s] |\n|---|---:|---:|")
        speeds: dict[str, float] = {}
        for name in options.methods or (config.methods if cuda else FEW):
            method = load_method(name)
            if method.keys is not None:  # no first stage has run; its keys cost what others do
                keyless = {**method.hyperparameters, "key_source": "template"}
                method = method.model_copy(update={"hyperparameters": keyless})
            stream = TaskStream(data, spec, 7, device, embedding=embedding)
            setting = Setting(
                stream=stream.info,
                device=device,
                seed=7,
                vit=lambda: load_vit(options.vit, device, precision=options.precision),
                clip=clip,
                vit_normalisation=vit_normalisation(options.vit),
                precision=options.precision,
            )
            hp = check_hyperparameters(method, dataset)
            loop, end, images = 0.0, 0.0, 0
            for _ in range(2):  # the first is the warm-up
                seed_everything(7, "setup")
                with products(options.precision):
                    learner = learner_class(method)(hp, setting)
                    loop, end, images = learn_once(learner, stream.tasks[0], device)
                del learner
            speed = f"{images / loop:,.0f}" if images else "–"
            speeds[name] = images / loop if images else 0.0
            print(f"| {method.title} | {speed} | {end:.2f} |", flush=True)
    report(
        "training_speed",
        round(speeds.get("starprompt", 0.0) / max(speeds.values()), 3),
        images_per_second={name: round(speed, 1) for name, speed in speeds.items()},
        device=device.type,
    )


if __name__ == "__main__":
    main()
