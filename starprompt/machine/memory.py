"""The memory rule: a run says what it needs before it starts, and splits batches that do not fit.

Needed are bytes by a formula (:class:`MemoryNeed`, which a learner states); there is what the
device, or on the CPU the machine and this process's control group, has free. `micro_batch: auto`
takes the largest micro-batch that fits; its gradients add up to those of the whole batch.
"""

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from starprompt.errors import UserError
from starprompt.machine.leases import leased_share

logger = logging.getLogger(__name__)

#: of what is free, the share that a run may plan with: allocators round up and leave gaps
USABLE = 0.9

MicroBatch = Literal["auto"] | int


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a learner needs at most, beyond its process and libraries.

    parameters  weights, frozen ones too, and what is kept from task to task
    learning    gradients and optimiser state of what one task trains
    step        of a step, whatever its micro-batch: the whole batch's views, filtered keys,
                rounded copies of weights
    image       of a step, for each image of the micro-batch: activations
    """

    parameters: int
    learning: int = 0
    step: int = 0
    image: int = 0

    def of(self, images: int) -> int:
        """With micro-batches of so many images."""
        return self.parameters + self.learning + self.step + images * self.image


@dataclass(frozen=True)
class MemoryPlan:
    """What was planned: the need at ``micro_batch``, what was there for it, all in bytes."""

    need: MemoryNeed
    available: int
    batch: int
    micro_batch: int

    def numbers(self) -> dict[str, int]:
        """For the record, which says nothing that differs from hour to hour."""
        needed = self.need.of(self.micro_batch)
        return asdict(self.need) | {"needed": needed, "micro_batch": self.micro_batch}


def plan(
    need: MemoryNeed,
    available: int,
    batch: int,
    asked: MicroBatch,
    *,
    splits: bool,
    where: str,
    device: torch.device,
) -> MemoryPlan:
    """Choose the micro-batch, log need and supply in one line.

    available  bytes for all of the need, what is allocated already included
    asked      "auto": the fewest, equal micro-batches that fit; a number: just that
    splits     whether the learner can split its batches

    Raises :class:`UserError` where not even one image fits (or the whole batch, if the learner
    can't split it).
    """
    usable = int(USABLE * available)
    size = batch
    if splits and asked == "auto":
        parts = next((k for k in range(1, batch + 1) if need.of(-(-batch // k)) <= usable), batch)
        size = -(-batch // parts)
    elif splits:
        size = min(batch, int(asked))
    elif asked != "auto" and asked < batch:
        logger.warning("%s: the method can't split its batches; micro_batch is ignored", where)
    logger.info(
        "%s: needs up to %s (parameters %s, gradients and optimiser %s, per step %s, per "
        "image %s, %d images at a time%s); %s has %s",
        *(where, gigabytes(need.of(size)), gigabytes(need.parameters), gigabytes(need.learning)),
        *(gigabytes(need.step), gigabytes(need.image), size),
        "" if size == batch else f" (batches of {batch} in {-(-batch // size)} micro-batches)",
        *(device.type, gigabytes(available)),
    )
    if need.of(size) > usable:
        if splits and asked == "auto":
            raise UserError(
                f"{where} needs {gigabytes(need.of(1))} for a single image, and {device.type} "
                f"has {gigabytes(available)}, of which a run may use {USABLE:.0%}; take a "
                "device with more memory, smaller backbones, or precision: bf16."
            )
        logger.warning("%s: that may not fit; a smaller batch_size or micro_batch helps", where)
    return MemoryPlan(need, available, batch, size)


def need_of_modules(modules: Iterable[nn.Module], view_bytes: int, batch: int) -> MemoryNeed:
    """What training these modules by Adam needs, as far as they tell.

    An encoder's method ``activations()`` says what an image takes in it: bytes ``kept`` until the
    backward pass, ``passing`` at one time and ``constant``. ``view_bytes`` is an image's view; of
    these the whole batch has three at most while it is augmented, a micro-batch two.
    """
    modules = list(modules)
    tensors = {id(t): t for m in modules for t in (*m.parameters(), *m.buffers())}.values()
    trained = sum(t.nbytes for t in tensors if t.requires_grad)
    encoders = [encoder.activations() for module in modules for encoder in _encoders(module)]
    return MemoryNeed(
        parameters=sum(t.nbytes for t in tensors),
        learning=3 * trained,  # a gradient and Adam's two moments
        step=3 * batch * view_bytes + sum(encoder.constant for encoder in encoders),
        image=2 * view_bytes
        + sum(encoder.kept for encoder in encoders)
        + max((encoder.passing for encoder in encoders), default=0),
    )


def _encoders(module: Any) -> Iterator[Any]:
    """The outermost modules that state the bytes that an image takes."""
    if hasattr(module, "activations"):
        yield module
        return
    for child in module.children():
        yield from _encoders(child)


def available_bytes(device: torch.device) -> int:
    """Bytes that a run on ``device`` may use, what this process holds there already included.

    CUDA: free on the device, or held by torch's allocator, and no more than this run's share of the
    device (runs that share one start together, while all of it is free). CPU: available on the
    machine, within the limit of this process's control group, if it has one (a SLURM job, a
    container).
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return min(free + torch.cuda.memory_reserved(device), total // leased_share())
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="ascii")
    except OSError:
        groups = ""
    return min([_machine_free(), *_control_group_room(groups)]) + _resident()


def gigabytes(count: int) -> str:
    """Bytes for reading: 3.2 GB, 41 MB."""
    if count >= 999_500_000:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 9_500_000 else f"{count / 1e6:.1f} MB"


def _machine_free() -> int:
    """Memory that the machine can give without swapping."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # macOS: what it has at all


def _resident() -> int:
    """Memory that this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


#: of control groups of versions 2 and 1: root, how their line begins in /proc/self/cgroup, files
#: with the limit and with what is used
_CONTROL_GROUPS = (
    ("sys/fs/cgroup", "0::", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", ":memory:", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def _control_group_room(groups: str, system: Path = Path("/")) -> list[int]:
    """What each of a process's control groups has left, page cache not counted.

    groups  the process's /proc/self/cgroup
    """
    free = []
    for place, mark, limit_file, used_file in _CONTROL_GROUPS:
        root = system / place
        own = next((g.partition(mark)[2] for g in groups.splitlines() if mark in g), None)
        if own is None:
            continue
        inner = root / own.lstrip("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(root):
                break
            try:
                limit = (folder / limit_file).read_text(encoding="ascii").strip()
                used = int((folder / used_file).read_text(encoding="ascii"))
                stat = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            except (OSError, ValueError):
                continue
            if limit != "max":
                cached = sum(int(s.split()[1]) for s in stat if s.startswith("inactive_file "))
                free.append(max(0, int(limit) - used + cached))
    return free
