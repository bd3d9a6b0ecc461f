"""Both stages on all five tasks of the digits, from starting Python to the last test.

    python benchmarks/whole_run.py              # one seed, a minute
    python benchmarks/whole_run.py --seeds 3    # three, as the demo trains them

Ours is what a user types: `starprompt embed`, then `starprompt run` of the first stage and of
STAR-Prompt, each for all seeds in one process, with records, checkpoints and diagnostics. The
reference is one process a seed and works as the released code does: libraries are imported with
PyTorch's compiler behind them, every image is made from a PIL image by torchvision, CLIP encodes it
at every step of both stages and in every test, texts of all classes seen are encoded in full
length, mixtures are fitted and drawn from class by class. It writes no file and its networks are
ours. Both train on one thread. Before the clock starts the images are prepared, and the files of
the libraries are in memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _timing import report

#: of the first stage on the digits; the rest is as in the second stage
REPLAY_EPOCHS, REPLAY_LR = 10, 0.2
LIBRARIES = "import torch, torchvision.transforms.v2, timm, open_clip, sklearn"
REPOSITORY = Path(__file__).resolve().parents[1]


def ended(*command: str, folder: Path) -> tuple[str, float]:
    """What a process that trains on one thread prints, and its elapsed seconds.

    Its messages are shown on failure.
    """
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    environment = os.environ | one_thread | {"PYTHONPATH": str(REPOSITORY)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout, seconds


def seconds_of(*command: str, folder: Path) -> float:
    """Elapsed seconds of such a process."""
    return ended(*command, folder=folder)[1]


def ours(folder: Path, seeds: int) -> dict[str, float]:
    """Seconds of each command."""
    config = ["--config", str(REPOSITORY / "config/demo.yaml"), "--dataset", "digits"]
    chosen = [part for seed in (1993, 1996, 1997)[:seeds] for part in ("--seed", str(seed))]
    program = ("-m", "starprompt")
    run = (*program, "run", *config, *chosen, "--method")
    return {
        "embed": seconds_of(*program, "embed", *config, folder=folder),
        "first stage": seconds_of(*run, "starprompt-first-stage", folder=folder),
        "second stage": seconds_of(*run, "starprompt", folder=folder),
    }


def reference() -> None:
    """Print the seconds of both stages, without those of imports."""
    import torch
    from _reference import Reference
    from first_stage_epoch import Reference as FirstStage
    from second_stage_task import (
        BATCH,
        EPOCHS,
        SAMPLES,
        Images,
        ReferenceTasks,
        class_by_class,
        digits,
        mixtures_of,
    )

    from starprompt.backbones.clip import load_clip
    from starprompt.backbones.vit import load_vit
    from starprompt.data.registry import load_dataset_spec
    from starprompt.data.stream import TaskStream

    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    data, spec = digits(), load_dataset_spec("digits")
    stream = TaskStream(data, spec, 1993, cpu)
    start = time.perf_counter()
    torch.manual_seed(1993)
    clip, made = load_clip("tiny"), Images()
    first, mixtures = FirstStage(clip, list(stream.info.class_names), cpu), []
    for number, task in enumerate(stream.tasks):
        first.begin_task(task.past_classes, task.seen_classes)
        for _ in range(EPOCHS):
            for images, labels in made.batches(task.train, data.train.images, made.plain, True):
                first.step(images, labels)
        views = made.batches(task.train, data.train.images, made.plain)
        found = ((clip.encode_images(images), labels) for images, labels in views)
        mixtures += mixtures_of(found, range(task.past_classes, task.seen_classes), iterations=200)
        first.begin_task(task.past_classes, task.seen_classes, REPLAY_LR)
        for _ in range(REPLAY_EPOCHS):
            for features, labels in class_by_class(mixtures, SAMPLES, BATCH):
                first.replay_step(features, labels)
        for seen in stream.test_tasks[: number + 1]:
            for images, _ in made.batches(seen, data.test.images, made.plain):
                with torch.no_grad():
                    first.logits(clip.encode_images(images)).argmax(dim=1)
    middle = time.perf_counter()
    contexts = torch.cat([context.detach() for context in first.contexts])
    own = Reference(clip, load_vit("tiny"), len(contexts), contexts)
    second = ReferenceTasks(own, stream, data)
    for number in range(len(stream.tasks)):
        second.run(number)
    print(middle - start, time.perf_counter() - middle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=1, choices=(1, 2, 3))
    parser.add_argument("--reference", action="store_true", help="train the other way")
    options = parser.parse_args()
    if options.reference:
        reference()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds_of("-m", "starprompt", "data", "prepare", "digits", folder=folder)
        seconds_of("-c", LIBRARIES, folder=folder)
        start = seconds_of("-c", LIBRARIES, folder=folder)
        printed, _ = ended(__file__, "--reference", folder=folder)
        one = dict(zip(("first stage", "second stage"), map(float, printed.split()), strict=True))
        theirs = {"imports": start} | one
        mine = ours(folder, options.seeds)
    ratio = options.seeds * sum(theirs.values()) / sum(mine.values())
    print(f"the digits, five tasks, both stages, {options.seeds} seeds, one thread")
    for who, seconds in (("reference, a seed", theirs), ("ours, all seeds", mine)):
        parts = ", ".join(f"{part} {value:.1f}" for part, value in seconds.items())
        print(f"  {who:18} {sum(seconds.values()):6.1f} s: {parts}")
    report(
        "whole_run",
        round(ratio, 2),
        seeds=options.seeds,
        reference_seconds={part: round(value, 2) for part, value in theirs.items()},
        ours_seconds={part: round(value, 2) for part, value in mine.items()},
    )


if __name__ == "__main__":
    main()
