"""The expected cost of a run: images x operations, seconds, memory and disk, before it starts.

    operations  what `work` says a method does x what `networks` says that costs
    seconds     of every batch the longest of three: operations at the given rate, calls to the
                device at LAUNCH_SECONDS each, images at IMAGES_A_SECOND (all three overlap)
    memory      weights, optimiser, what the backward pass keeps of the largest batch, data

The numbers that are no arithmetic stand at the top of this file with where they are from.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import pairwise
from math import ceil, comb
from pathlib import Path
from typing import Any, TypeVar

from starprompt.budget.networks import (
    FLOAT,
    HALF,
    Clip,
    Transformer,
    UnknownCostError,
    ViT,
    clip_of,
    vit_of,
)
from starprompt.config.cost_facts import EM, CostFacts, Phase, assumed_facts, evaluate
from starprompt.config.experiment import Config
from starprompt.config.methods import MethodSpec, described_in, load_method
from starprompt.data.registry import DatasetSpec, data_root, load_dataset_spec
from starprompt.data.store import prepared_folder, read_manifest
from starprompt.errors import UserError

TERA, GIGA, MEGA = 1e12, 1e9, 1e6

#: Sustained TFLOP/s of large matrix products inside a training step on one GPU. bf16: half of the
#: 600 or so that an H100's tensor cores reach on large products, the share that the second-stage
#: step is built for; tf32 and float32 in the proportion of the card's data sheet. Not measured.
GPU_RATE = {"bf16": 300.0, "tf32": 120.0, "float32": 30.0}
#: the same for one CPU thread: the tiny pair's step, by benchmarks/matmul_ceiling.py
CPU_RATE = 0.03
#: under bf16 the text encoder stays float32 and runs in TF32, at this part of the rate
TEXT_RATE = GPU_RATE["tf32"] / GPU_RATE["bf16"]
#: seconds that the host takes to give the device one piece of work
LAUNCH_SECONDS = 8e-6
#: pieces of work in one block's forward pass; a backward pass has twice as many
KERNELS_A_BLOCK = 16
#: images that one host thread gathers from the memory map a second, at 256 x 256
IMAGES_A_SECOND = 10_000
#: from `starprompt run` to the first step: imports, weights, checks
STARTUP_SECONDS = {"cuda": 60.0, "cpu": 8.0}
#: bytes a process holds before any weight or image: Python, torch, and CUDA's own on the host
PROCESS_BYTES = {"cuda": 4.0 * GIGA, "cpu": 1.0 * GIGA}
#: bytes that CUDA, its libraries and their workspaces take on the device
CONTEXT_BYTES = 0.8 * GIGA
#: a job asks for so much more than is forecast, and for so much at least
MARGIN, LEAST_MB, LEAST_MINUTES = 1.5, 1500, 10


@dataclass
class PhaseCost:
    """What one phase takes over all tasks."""

    items: float = 0
    steps: float = 0
    seconds: float = 0
    operations: dict[str, float] = field(default_factory=lambda: defaultdict(float))


@dataclass(frozen=True)
class Cost:
    """The expected cost of one run, or of embedding one data set.

    images         by phase, how often an image is read and goes through a network
    operations     floating-point, by part: vit/forward, vit/backward, clip/image, clip/text, other
    phases         seconds by phase
    step_operations  of one training step of a whole batch, by task; zeros without such steps
    bytes_read     pixels and cached features
    device_bytes   peak, on a GPU; on a CPU part of host_bytes
    host_bytes     peak of the process, without the memory map's pages, which can be given back
    parameters     numbers that training changes, and those stored beside them
    disk           bytes by what is kept
    assumed        what was not known, in words
    """

    dataset: str
    method: str
    images: dict[str, float]
    operations: dict[str, float]
    phases: dict[str, float]
    steps: float
    bytes_read: float
    seconds: float
    device_bytes: float
    host_bytes: float
    parameters: dict[str, float]
    disk: dict[str, float]
    step_operations: tuple[float, ...] = ()
    assumed: tuple[str, ...] = ()

    @property
    def total_operations(self) -> float:
        """Operations of one run, over all phases."""
        return sum(self.operations.values())

    @property
    def total_images(self) -> float:
        """Images of one run, over all phases."""
        return sum(self.images.values())

    def as_dict(self) -> dict[str, Any]:
        """For JSON; with the totals."""
        return asdict(self) | {
            "assumed": list(self.assumed),
            "total_operations": self.total_operations,
            "total_images": self.total_images,
        }


@dataclass(frozen=True)
class Resources:
    """What a job asks the scheduler for."""

    mem_mb: int
    runtime: int


def resources(config: Config, dataset: str, method: str | MethodSpec) -> Resources:
    """Host memory (MB) and minutes for one run, with a margin; the configuration's own values
    where the backbones' cost is unknown."""
    try:
        cost = expected(config, dataset, method)
    except UnknownCostError:
        return Resources(config.mem_mb, config.runtime)
    return asked(cost)


def asked(cost: Cost) -> Resources:
    """A cost as resources: with :data:`MARGIN`, in whole 500 MB and 5 minutes."""
    mem = max(LEAST_MB, MARGIN * cost.host_bytes / MEGA)
    minutes = max(LEAST_MINUTES, MARGIN * cost.seconds / 60)
    return Resources(500 * ceil(mem / 500), 5 * ceil(minutes / 5))


# --- one run


def expected(
    config: Config, dataset: str, method: str | MethodSpec, rate: float | None = None
) -> Cost:
    """The expected cost of ``method`` on ``dataset`` under one seed.

    rate  TFLOP/s sustained; by the configuration's device and precision when None

    Raises :class:`UnknownCostError` for a backbone that the tables don't know, and
    :class:`UserError` for a `cost` block that can't be evaluated.
    """
    spec = load_method(method) if isinstance(method, str) else method
    data = _describe(dataset, data_root())
    facts = spec.cost or assumed_facts(list(spec.uses), spec.resolve(dataset))
    machine = _Machine.of(config, rate)
    vit = vit_of(config.backbones.vit) if "vit" in spec.uses else None
    clip = clip_of(config.backbones.clip) if "clip" in spec.uses else None
    try:
        return _Run(spec, facts, data, machine, vit, clip, config.backbones.clip).cost()
    except UserError as error:
        raise UserError(f"{described_in(spec.name)}: cost: {error}") from error


def embedding(config: Config, dataset: str, rate: float | None = None) -> Cost:
    """The expected cost of `starprompt embed`: both splits through CLIP, in one view or two."""
    data, clip = _describe(dataset, data_root()), clip_of(config.backbones.clip)
    machine = _Machine.of(config, rate)
    images = data.train + data.test
    operations = images * data.views * clip.image_operations
    seconds = max(operations / machine.rate, images / IMAGES_A_SECOND)
    passing = 128 * clip.image_passing.passing_bytes(machine.element)
    device = clip.parameters * FLOAT + passing + _staged(128, data.view_side)
    return Cost(
        dataset=dataset,
        method="embed",
        images={"embedding": images * data.views},
        operations={"clip/image": operations},
        phases={"embedding": seconds},
        steps=ceil(images / 128),
        bytes_read=images * data.bytes_an_image,
        seconds=seconds + machine.startup,
        device_bytes=device + CONTEXT_BYTES if machine.gpu else 0,
        host_bytes=machine.host(device, clip.parameters * FLOAT),
        parameters={},
        disk={"features": 2 * images * clip.dim * FLOAT},
        assumed=data.assumed,
    )


def default_rate(config: Config) -> float:
    """TFLOP/s that are taken to be sustained on the configuration's device."""
    return _Machine.of(config, None).rate / TERA


def prepared_bytes(dataset: str) -> float:
    """Bytes of a data set's memory maps."""
    data = _describe(dataset, data_root())
    return (data.train + data.test) * data.bytes_an_image


@dataclass(frozen=True)
class _Machine:
    """Where a run computes, as far as its cost goes."""

    gpu: bool
    rate: float
    element: int

    @classmethod
    def of(cls, config: Config, rate: float | None) -> "_Machine":
        gpu = config.device == "cuda" or (config.device == "auto" and config.gpu > 0)
        default = GPU_RATE[config.precision] if gpu else CPU_RATE * config.threads
        element = HALF if gpu and config.precision == "bf16" else FLOAT
        return cls(gpu, (rate or default) * TERA, element)

    @property
    def startup(self) -> float:
        return STARTUP_SECONDS["cuda" if self.gpu else "cpu"]

    def host(self, device_bytes: float, weights: float) -> float:
        """Peak bytes of the process: on a CPU all that the run holds, beside a GPU the weights on
        their way (read from the file and built) and what waits to be copied."""
        base = PROCESS_BYTES["cuda" if self.gpu else "cpu"]
        return base + (2 * weights if self.gpu else device_bytes)


_Network = TypeVar("_Network", ViT, Clip)


@dataclass
class _Run:
    """One run as it is being counted."""

    spec: MethodSpec
    facts: CostFacts
    data: "_Data"
    machine: _Machine
    vit: ViT | None
    clip: Clip | None
    clip_name: str

    def cost(self) -> Cost:
        phases: dict[str, PhaseCost] = {}
        images: dict[str, float] = defaultdict(float)
        hyperparameters = self.spec.resolve(self.data.name)
        parameters = dict.fromkeys(("trained", "stored"), 0.0)
        largest, stored_features = 0.0, 0.0
        step_operations = []
        for task in self._tasks():
            names = {**hyperparameters, **self._names(), **task}
            step_operations.append(self._step(names))
            for phase in [*self.facts.phases, self.facts.test]:
                total = phases.setdefault(phase.name, PhaseCost())
                items = self._add(phase, names, total)
                if phase.pixels and (phase.vit or evaluate(phase.clip, names)):
                    images[phase.name] += items
                largest = max(largest, self._phase_bytes(phase, names))
            if self.clip is not None:
                features = 2 * (task["images"] + task["tests"]) * self.clip.dim * FLOAT
                stored_features = max(stored_features, features)
            parameters = {name: evaluate(getattr(self.facts, name), names) for name in parameters}
        operations: dict[str, float] = defaultdict(float)
        for total in phases.values():
            for part, count in total.operations.items():
                operations[part] += count
        weights, device = self._weights(names), 0.0
        device = weights["all"] + largest + stored_features + FLOAT * parameters["stored"]
        read = sum(images.values()) * self.data.bytes_an_image
        kept = FLOAT * (parameters["trained"] + parameters["stored"])
        buffer = evaluate(self.facts.kept_images, names) * self.data.bytes_an_image
        return Cost(
            dataset=self.data.name,
            method=self.spec.name,
            images=dict(images),
            operations=dict(operations),
            phases={name: total.seconds for name, total in phases.items()},
            steps=sum(total.steps for total in phases.values()),
            bytes_read=read,
            seconds=sum(total.seconds for total in phases.values()) + self.machine.startup,
            device_bytes=device + CONTEXT_BYTES if self.machine.gpu else 0,
            host_bytes=self.machine.host(device, weights["loaded"]) + buffer,
            parameters=parameters,
            disk={"run": kept + buffer, "diagnostics": self._diagnostics_bytes()},
            step_operations=tuple(step_operations),
            assumed=(*self.data.assumed, *([self.facts.assumed] if self.facts.assumed else [])),
        )

    def _tasks(self) -> Iterator[dict[str, float]]:
        """What expressions may name of every task that is trained, in order."""
        data = self.data
        ends = (data.classes,) if self.spec.stream == "joint" else data.task_ends
        for index, (past, seen) in enumerate(pairwise((0, *ends))):
            new = seen - past
            yield {
                "task": index,
                "later": float(index > 0),
                "new": new,
                "past": past,
                "seen": seen,
                "images": data.train * new / data.classes,
                "tests": data.test * new / data.classes,
                "seen_images": data.train * seen / data.classes,
                "seen_tests": data.test * seen / data.classes,
            }

    def _names(self) -> dict[str, float]:
        """What expressions may name that is the same in every task."""
        names: dict[str, float] = {
            "tasks": 1 if self.spec.stream == "joint" else len(self.data.task_ends),
            "classes": self.data.classes,
            "templates": self.data.templates,
            "em": EM,
        }
        if self.vit is not None:
            body = self.vit.body
            names |= {"vit_width": body.width, "vit_depth": body.depth}
            names |= {"vit_parameters": self.vit.parameters, "vit_tokens": body.tokens}
        if self.clip is not None:
            names |= {"clip_dim": self.clip.dim, "text_width": self.clip.text.width}
            names |= {"text_depth": self.clip.text.depth}
            body = self.clip.image_blocks or Transformer(0, 0, 0)
            names |= {"clip_width": body.width, "clip_depth": body.depth}
            names |= {"clip_tokens": body.tokens}
        return names

    def _add(self, phase: Phase, names: dict[str, Any], total: PhaseCost) -> float:
        """Add one task's share of a phase; returns its items."""
        one_pass = evaluate(phase.items, names)
        passes = evaluate(phase.passes, names)
        items = one_pass * passes
        if not items:
            return 0
        batch = min(evaluate(phase.batch, names), one_pass)
        steps = ceil(one_pass / batch) * passes
        operations, kernels = self._operations(phase, names, items, steps)
        text = operations.get("clip/text", 0.0)
        dense = sum(operations.values()) - text
        share = TEXT_RATE if self.machine.gpu and self.machine.element == HALF else 1.0
        total.seconds += max(
            dense / self.machine.rate + text / (share * self.machine.rate),
            steps * kernels * LAUNCH_SECONDS,
            items / IMAGES_A_SECOND if phase.pixels and phase.vit else 0,
        )
        total.items += items
        total.steps += steps
        for part, count in operations.items():
            total.operations[part] += count
        return items

    def _used(self, network: _Network | None, name: str, phase: Phase) -> _Network:
        """A network that a phase computes with; the method must name it under ``uses``."""
        if network is None:
            raise UserError(
                f"{described_in(self.spec.name)}: cost: the phase {phase.name} computes with "
                f"{name}, which is not named under `uses`; add it."
            )
        return network

    def _step(self, names: dict[str, Any]) -> float:
        """Operations of a whole batch's step in one task."""
        return sum(
            sum(self._operations(phase, names, evaluate(phase.batch, names), 1)[0].values())
            for phase in self.facts.phases
            if phase.name == "training"
        )

    def _operations(
        self, phase: Phase, names: dict[str, Any], items: float, steps: float
    ) -> tuple[dict[str, float], float]:
        """Operations by part, and calls to the device a step."""
        operations: dict[str, float] = defaultdict(float)
        kernels = evaluate(phase.kernels, names)
        for one in phase.vit:
            vit = self._used(self.vit, "vit", phase)
            tokens, times = int(evaluate(one.tokens, names)), evaluate(one.times, names)
            operations["vit/forward"] += items * times * vit.operations(tokens)
            operations["vit/backward"] += items * times * vit.backward(one.kind, tokens)
            blocks = vit.body.depth * times * (1 if one.kind == "forward" else 3)
            kernels += KERNELS_A_BLOCK * blocks
        clip_passes, texts = evaluate(phase.clip, names), evaluate(phase.texts, names)
        if clip_passes:
            clip = self._used(self.clip, "clip", phase)
            backward = clip.image_backward if phase.clip_gradient else 0
            once = clip.image_operations + backward
            operations["clip/image"] += items * clip_passes * once
            each = KERNELS_A_BLOCK * (3 if phase.clip_gradient else 1)
            kernels += each * clip.image_passing.depth * clip_passes
        if texts:
            clip = self._used(self.clip, "clip", phase)
            length = self.data.text_length(self.clip_name, int(texts), phase.text)
            tokens = round(length + evaluate(phase.text_tokens, names))
            one_text = clip.text_operations(tokens, phase.text_gradient)
            beside = tokens * evaluate(phase.text_operations, names)
            operations["clip/text"] += steps * texts * (one_text + beside)
            kernels += KERNELS_A_BLOCK * clip.text.depth * (3 if phase.text_gradient else 1)
        operations["other"] += items * evaluate(phase.operations, names)
        return operations, kernels

    # --- memory and disk

    def _weights(self, names: dict[str, Any]) -> dict[str, float]:
        """Bytes of weights, gradients and optimiser states: "all", and what is "loaded"."""
        loaded = FLOAT * float(
            (self.vit.parameters if self.vit else 0) + (self.clip.parameters if self.clip else 0)
        )
        training = [one.kind for phase in self.facts.phases for one in phase.vit]
        trained = evaluate(self.facts.trained, names)
        every = loaded + 3 * FLOAT * trained  # gradient and Adam's two moments
        if "trained" not in training:
            every += FLOAT * trained  # parameters beside the frozen weights
        elif self.vit is not None and self.machine.element == HALF:
            every += HALF * self.vit.parameters  # autocast keeps its copies for a step
        if self.vit is not None:
            every += evaluate(self.facts.copies, names) * FLOAT * self.vit.parameters
        return {"loaded": loaded, "all": every}

    def _phase_bytes(self, phase: Phase, names: dict[str, Any]) -> float:
        """Bytes of a phase's largest batch on its way through the networks."""
        batch = min(evaluate(phase.batch, names), evaluate(phase.items, names))
        element = self.machine.element
        kept, passing = 0.0, 0.0
        for one in phase.vit:
            vit = self._used(self.vit, "vit", phase)
            tokens = vit.body.tokens + int(evaluate(one.tokens, names))
            if one.kind != "forward":
                each = vit.body.kept_bytes(one.kind == "trained", element, tokens)
                kept += batch * evaluate(one.times, names) * each
            passing = max(passing, batch * vit.body.passing_bytes(element, tokens))
        if self.clip is not None and evaluate(phase.clip, names):
            passing = max(passing, batch * self.clip.image_passing.passing_bytes(element))
            if phase.clip_gradient and self.clip.image_blocks is not None:
                kept += batch * self.clip.image_blocks.kept_bytes(False, element)
        texts = evaluate(phase.texts, names)
        if self.clip is not None and texts and phase.text_gradient:
            length = ceil(self.data.text_length(self.clip_name, int(texts), phase.text))
            length += int(evaluate(phase.text_tokens, names))
            kept += texts * self.clip.text.kept_bytes(False, FLOAT, length)
        pixels = _staged(batch, self.data.view_side) if phase.pixels else 0
        return kept + passing + pixels

    def _diagnostics_bytes(self) -> float:
        """At most 256 features a class and split in half precision, every task once."""
        width = 0
        if self.spec.group in ("starprompt", "ablation"):
            width = self.vit.body.width if self.vit else self.clip.dim if self.clip else 0
        each = min(256, self.data.train / self.data.classes)
        tests = min(256, self.data.test / self.data.classes)
        return HALF * width * self.data.classes * (each + tests)


def _staged(batch: float, side: int) -> float:
    """Bytes of a batch of views: two of uint8, and float32 as cropped, normalised twice."""
    return batch * 3 * side**2 * (2 + 3 * FLOAT)


# --- data sets


@dataclass(frozen=True)
class _Data:
    """A data set as far as costs go. bytes_an_image is of one stored image; views is 1 where
    CLIP's own preprocessing and the test view are the same."""

    name: str
    classes: int
    task_ends: tuple[int, ...]
    train: int
    test: int
    view_side: int
    bytes_an_image: int
    views: int
    templates: int
    names: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()

    def text_length(self, clip: str, drawn: int, text: str = "X {}.") -> float:
        """Expected tokens of the longest of ``drawn`` classes' texts."""
        lengths = sorted(_tokens(text.format(name), clip) for name in self.names)
        if not lengths:
            return _tokens(text.format("seven"), clip) + 2
        drawn = max(1, min(drawn, len(lengths)))
        ways = comb(len(lengths), drawn)
        return sum(
            length * (comb(rank + 1, drawn) - comb(rank, drawn)) / ways
            for rank, length in enumerate(lengths)
        )


def _tokens(text: str, clip: str) -> int:
    """Tokens of a text with start and end: characters for the tiny CLIP; for others an estimate
    of its byte pairs (a word of up to 8 letters is one, of up to 11 two, a longer one three)."""
    if clip == "tiny":
        return 2 + len(text)
    words = re.findall(r"[^\W\d_]+|\d|[^\w\s]+", text)
    return 2 + sum(1 if len(word) <= 8 else 2 if len(word) <= 11 else 3 for word in words)


@cache
def _describe(name: str, root: Path) -> _Data:
    """Counts from the prepared data where there are any, else from the data set's YAML."""
    spec, assumed = load_dataset_spec(name), []
    manifest = read_manifest(prepared_folder(root, name)) or {}
    counts = dict(manifest.get("counts", {}))
    for split in ("train", "test"):
        published = getattr(spec.expected, split)
        about = getattr(spec.about, split)
        if split not in counts and published is None and about is not None:
            assumed.append(f"about {about:,} {split} images of {name}")
        counts.setdefault(split, published or about)
        if counts[split] is None:
            raise UserError(
                f"The number of {split} images of {name} is known once it is prepared "
                f"(`starprompt data prepare {name}`) or stands under `about` in its YAML."
            )
    names = _class_names(spec, root)
    classes = spec.classes or len(names)
    if not classes:
        raise UserError(
            f"The number of classes of {name} is known once it is prepared "
            f"(`starprompt data prepare {name}`) or stands under `classes` in its YAML."
        )
    if not names:
        assumed.append(f"short class names of {name}")
    side = _stored_side(spec)
    return _Data(
        name=name,
        classes=classes,
        task_ends=spec.task_ends(classes),
        train=counts["train"],
        test=counts["test"],
        view_side=spec.image_size,
        bytes_an_image=3 * side**2,
        views=1 if _same_view(spec, side) else 2,
        templates=len(spec.templates),
        names=tuple(names),
        assumed=tuple(assumed),
    )


def _class_names(spec: DatasetSpec, root: Path) -> list[str]:
    if spec.class_names:
        return list(spec.class_names)
    try:
        path = prepared_folder(root, spec.name) / "class_names.json"
        return list(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []


def _stored_side(spec: DatasetSpec) -> int:
    """Side of the stored training images, by the last step that stores them or by the YAML."""
    for step in reversed(spec.stored.train):
        size = step.size
        return size if isinstance(size, int) else max(size)
    return spec.about.side or spec.image_size


def _same_view(spec: DatasetSpec, side: int) -> bool:
    """Whether the test view only resizes a square image to CLIP's own size."""
    steps = [step.step for step in spec.test_transform]
    return steps in ([], ["resize"], ["resize", "center_crop"]) and (
        not spec.test_transform or _size(spec.test_transform[0]) == spec.image_size
    )


def _size(step: Any) -> int:
    return step.size if isinstance(step.size, int) else max(step.size)
