"""The expected cost of a run: images x operations, seconds, memory and disk, before it starts.

    operations  what `work` says a method does x what `networks` says that costs
    seconds     of every batch the longest of three: operations at the given rate, calls to the
                device at LAUNCH_SECONDS each, images at IMAGES_A_SECOND (all three overlap)
    memory      weights, optimiser, what the backward pass keeps of the largest batch, data

The numbers that are no arithmetic stand in `rates`, with where they are from.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from math import ceil
from typing import Any, TypeVar

from starprompt.budget.dataset_facts import DatasetFacts, described
from starprompt.budget.networks import (
    FLOAT,
    HALF,
    Clip,
    Transformer,
    ViT,
    clip_of,
    vit_of,
)
from starprompt.budget.rates import (
    CONTEXT_BYTES,
    IMAGES_A_SECOND,
    KERNELS_A_BLOCK,
    LAUNCH_SECONDS,
    TEXT_RATE,
    Machine,
)
from starprompt.config.cost_facts import EM, CostFacts, Phase, assumed_facts, evaluate
from starprompt.config.experiment import Config
from starprompt.config.methods import MethodSpec, described_in, load_method
from starprompt.data.registry import data_root
from starprompt.errors import UserError


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
    data = described(dataset, data_root())
    facts = spec.cost or assumed_facts(list(spec.uses), spec.resolve(dataset))
    machine = Machine.of(config, rate)
    vit = vit_of(config.backbones.vit) if "vit" in spec.uses else None
    clip = clip_of(config.backbones.clip) if "clip" in spec.uses else None
    try:
        return _Run(spec, facts, data, machine, vit, clip, config.backbones.clip).cost()
    except UserError as error:
        raise UserError(f"{described_in(spec.name)}: cost: {error}") from error


def embedding(config: Config, dataset: str, rate: float | None = None) -> Cost:
    """The expected cost of `starprompt embed`: both splits through CLIP, in one view or two."""
    data, clip = described(dataset, data_root()), clip_of(config.backbones.clip)
    machine = Machine.of(config, rate)
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


_Network = TypeVar("_Network", ViT, Clip)


@dataclass
class _Run:
    """One run as it is being counted."""

    spec: MethodSpec
    facts: CostFacts
    data: DatasetFacts
    machine: Machine
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
            read = int(evaluate(one.read, names))
            operations["vit/forward"] += items * times * vit.operations(tokens, read)
            operations["vit/backward"] += items * times * vit.backward(one.kind, tokens, read)
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
            tokens, read = int(evaluate(one.tokens, names)), int(evaluate(one.read, names))
            if one.kind != "forward":
                each = vit.kept_bytes(one.kind == "trained", element, tokens, read)
                kept += batch * evaluate(one.times, names) * each
            passing = max(
                passing, batch * vit.body.passing_bytes(element, vit.body.tokens + tokens)
            )
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
