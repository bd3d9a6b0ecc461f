"""The competitors' golden vectors: where they are, and our learners set up on the nets in them.

A pair `METHOD-SET.safetensors` and `.json` under `tests/golden/competitors/`, and under the folder
`competitors` of STARPROMPT_GOLDEN_DIR where it is set, holds what the authors' code computed. All
sizes and hyperparameters come from the pair; its README names every tensor.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from starprompt.backbones.clip import FrozenClip
from starprompt.backbones.preprocess import ChannelStatistics
from starprompt.continual.learner import Learner, Setting
from starprompt.data.batch import Batch, Normalisation, StreamInfo
from starprompt.data.stream import Task

#: largest deviations allowed, relative to the largest entry of the golden tensor
FORWARD, GRADIENT, STEP = 1e-5, 1e-4, 1e-4

FOLDERS = [Path(__file__).parents[1] / "golden" / "competitors"]
if os.environ.get("STARPROMPT_GOLDEN_DIR"):
    FOLDERS.append(Path(os.environ["STARPROMPT_GOLDEN_DIR"]) / "competitors")

#: by method and kind of tensor: the deviations found so far, for the summary after the tests
DEVIATIONS: dict[tuple[str, str], list[float]] = defaultdict(list)


def files(method: str | None = None) -> list[Path]:
    """The pairs' tensor files, of one method or of all."""
    every = [file for folder in FOLDERS for file in sorted(folder.glob("*.safetensors"))]
    return [f for f in every if method is None or f.stem.rpartition("-")[0] == method]


class Golden:
    """One pair: tensors ``t``, hyperparameters ``hp`` and net ``net``."""

    def __init__(self, file: Path) -> None:
        self.t: dict[str, Tensor] = load_file(file)
        facts = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        self.method: str = facts["method"]
        self.hp: dict[str, Any] = facts["hyperparameters"]
        self.net: dict[str, Any] = facts.get("net", {})

    @property
    def clip_limit(self) -> float:
        """The limit on gradients of the ``clipped.*`` steps, as the pair's words name it."""
        found = re.search(r"limit of ([0-9.]+)", self.hp["clip"])
        assert found, self.hp["clip"]
        return float(found[1])

    @property
    def ends(self) -> tuple[int, ...]:
        """Classes seen at the end of each task."""
        if "ends" in self.net:
            return tuple(self.net["ends"])
        if widths := [self.t[f"{name}.test.logits"].shape[1] for name in self.tasks()]:
            return tuple(widths)
        return (len(self.t["token_ids"]),)

    def tasks(self) -> list[str]:
        """Prefixes "task0", "task1", ... of the tensors after which a test stands."""
        names = (f"task{i}" for i in range(len(self.t)))
        return [name for name in names if f"{name}.test.logits" in self.t]

    def steps(self, prefix: str) -> list[str]:
        """Prefixes of the steps under ``prefix`` ("task0" gives "task0.step0", ...)."""
        found = {name.removeprefix(f"{prefix}.").split(".")[0] for name in self.t}
        numbers = sorted(int(n[4:]) for n in found if n.startswith("step") and n[4:].isdigit())
        return [f"{prefix}.step{n}" for n in numbers if any(self.under(f"{prefix}.step{n}."))]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``prefix``, by the rest of their names."""
        return {n.removeprefix(prefix): x for n, x in self.t.items() if n.startswith(prefix)}

    def vit(self) -> VisionTransformer:
        """A fresh timm ViT without a head, with the golden weights."""
        state, net = self.under("vit."), self.net
        vit = VisionTransformer(
            img_size=net["img"],
            patch_size=net["patch"],
            embed_dim=net["dim"],
            depth=net["depth"],
            num_heads=net["heads"],
            num_classes=0,
        )
        vit.load_state_dict(state)
        return vit.eval()

    def clip(self) -> FrozenClip:
        """A CLIP with the golden text encoder, the golden image encoder or an unused one, and
        the golden ids of the texts that learners make. It sees images as they are."""
        state = self.under("clip.")
        context, width = state["positional_embedding"].shape
        vision = CLIPVisionCfg(layers=1, width=64, head_width=64, patch_size=8, image_size=8)
        if "visual.conv1.weight" in state:
            own, _, patch, _ = state["visual.conv1.weight"].shape
            vision = CLIPVisionCfg(
                layers=self.hp["layers"],
                width=own,
                head_width=own // self.hp["heads"],
                patch_size=patch,
                image_size=self.net["img"],
            )
        model = CLIP(
            embed_dim=state["text_projection"].shape[1],
            vision_cfg=vision,
            text_cfg=CLIPTextCfg(
                context_length=context,
                vocab_size=len(state["token_embedding.weight"]),
                width=width,
                heads=self.hp["heads"],
                layers=self.hp["layers"],
            ),
            quick_gelu=True,
        )
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert not unexpected
        assert all(name.startswith("visual.") for name in missing)
        ids = {}
        if "token_ids" in self.t:
            named = zip(self.hp["names"], self.t["token_ids"], strict=True)
            ids = {f"X {name}.": x for name, x in named}
        if "token_ids.photo" in self.t:
            photos = zip(self.hp["names"], self.t["token_ids.photo"], strict=True)
            ids |= {f"a photo of a {name}": x for name, x in photos}
        if "token_ids.bad_photo" in self.t:
            photos = zip(self.hp["names"], self.t["token_ids.bad_photo"], strict=True)
            ids |= {f"a bad photo of a {name}.": x for name, x in photos}
        if "token_ids.no_name" in self.t:
            ids["x."] = self.t["token_ids.no_name"][0]

        def tokenizer(texts: list[str], context_length: int) -> Tensor:
            rows = torch.stack([ids[text] for text in texts])
            return nn.functional.pad(rows, (0, context_length - rows.shape[1]))

        as_they_are = ChannelStatistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        return FrozenClip(model, tokenizer, statistics=as_they_are)

    def learner(self, kind: type[Learner], *, vit: Any = None, clip: Any = None, **hp: Any) -> Any:
        """``kind`` on the golden nets, which see images as they are."""
        names = self.hp.get("names") or [f"class {c}" for c in range(self.ends[-1])]
        setting = Setting(
            stream=StreamInfo(
                dataset="golden",
                class_names=tuple(names),
                task_ends=self.ends,
                image_size=self.net.get("img", 0),
                normalisation=Normalisation(),
            ),
            device=torch.device("cpu"),
            seed=0,
            vit=vit or self.vit,
            clip=clip or self.clip,
            vit_normalisation=lambda images: images,
        )
        return kind(kind.Hyperparameters(**hp), setting)

    def task(self, index: int, batches: Sequence[Batch] = ()) -> Task:
        """Task ``index``, whose training images come in these batches."""
        past = (0, *self.ends)[index]
        train: Any = GivenData(list(batches))
        return Task(index, past, self.ends[index], train, train, f"task {index}")

    def batch(self, step: str, images: str = "images") -> Batch:
        """Images (or what a fake ViT takes for them) and labels of one step."""
        x, labels = self.t[f"{step}.{images}"], self.t[f"{step}.labels"]
        return Batch(torch.arange(len(labels)), labels, x)

    def check(self, kind: str, ours: Tensor, name: str, tolerance: float) -> None:
        """``ours`` equals golden tensor ``name`` up to ``tolerance`` of its largest entry."""
        self.compare(kind, ours, self.t[name], tolerance, name)

    def compare(
        self,
        kind: str,
        ours: Tensor,
        golden: Tensor,
        tolerance: float,
        at: str,
        least: float = 1e-12,
    ) -> None:
        """As :meth:`check`, with a tensor that is computed from golden ones.

        least  scale of a deviation where the golden entries are all smaller
        """
        ours = ours.detach()
        if ours.ndim == 0:
            ours = ours.reshape(1)
        assert ours.shape == golden.shape, at
        scale = golden.abs().max().clamp_min(least)
        error = float((ours - golden).abs().max() / scale)
        DEVIATIONS[self.method, kind].append(error)
        assert error <= tolerance, f"{at}: relative error {error:.2e} > {tolerance:.0e}"

    def forward(self, ours: Tensor, name: str, least: float = 1e-12) -> None:
        self.compare("forward", ours, self.t[name], FORWARD, name, least)

    def gradient(self, ours: Tensor | None, name: str) -> None:
        """A gradient; none is a gradient of zeros.

        One below a hundredth of its step's largest is compared at that scale: the bias before a
        batch norm has a gradient of zero, of which both sides hold their own rounding.
        """
        golden = self.t[name]
        ours = torch.zeros_like(golden) if ours is None else ours
        step = name[: name.index("grad.") + len("grad.")]
        largest = max(float(g.abs().max()) for g in self.under(step).values())
        self.compare("gradient", ours, golden, GRADIENT, name, least=max(1e-12, 1e-2 * largest))

    def norm(self, ours: Tensor, name: str) -> None:
        """A norm of gradients."""
        self.check("gradient", ours, name, GRADIENT)

    def after(self, ours: Tensor, name: str, tolerance: float = STEP) -> None:
        self.check("step", ours, name, tolerance)

    def learned(self, module: nn.Module, step: str, prefix: str = "") -> None:
        """Gradients, and parameters after ``step``, of all that the pair holds of ``module``."""
        found = 0
        for name, parameter in module.named_parameters():
            at = f"{prefix}{name}"
            if f"{step}.grad.{at}" in self.t:
                self.gradient(parameter.grad, f"{step}.grad.{at}")
                found += 1
            if f"{step}.after.{at}" in self.t:
                self.after(parameter, f"{step}.after.{at}")
                found += 1
        assert found, f"{self.method} has no gradient or step under {step}"


@dataclass
class GivenData:
    """A task's images as a learner asks for them, in given batches, whatever order it asks for."""

    given: list[Batch]

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.given)

    @property
    def labels(self) -> Tensor:
        return torch.cat([batch.labels for batch in self.given])

    def batches(self, *_: Any, **__: Any) -> Iterator[Batch]:
        yield from self.given


class AsGiven(nn.Module):
    """In a ViT's place where features are given: it returns what it takes."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = self.embed_dim = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def load(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Put golden weights into ``module``; what the pair doesn't hold stays."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in state:
                parameter.copy_(state[name])


def deviations() -> list[SimpleNamespace]:
    """One row a method and kind: how many tensors were compared and the largest deviation."""
    return [
        SimpleNamespace(method=method, kind=kind, compared=len(found), largest=max(found))
        for (method, kind), found in sorted(DEVIATIONS.items())
    ]
