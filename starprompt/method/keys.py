"""Where the second stage's keys w_c come from. A class not yet seen has no key to give.

Frozen keys are those of a finished first stage or of hand-written templates; the ablation's keys
are free vectors that the second stage trains, with a loss term of their own.
"""

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from starprompt.backbones.clip import FrozenClip
from starprompt.continual.learner import Setting
from starprompt.errors import UserError
from starprompt.record.run_files import CHECKPOINT

KeySource = Literal["first_stage", "template", "ensemble", "learned"]


class Keys:
    """Unit keys of the classes seen so far; frozen, unless a subclass has parameters."""

    def reveal(self, seen: int) -> None:
        """Open the keys of the first ``seen`` classes."""
        raise NotImplementedError

    def upto(self, n: int) -> Tensor:
        """(n, d) unit keys of the first n classes. Raises LookupError for one not yet seen."""
        raise NotImplementedError

    def parameters(self) -> list[nn.Parameter]:
        """What the second stage trains of the keys."""
        return []

    def loss(self, query: Tensor, labels: Tensor) -> Tensor | float:
        """The keys' own term of the loss, a mean over images: query (B, d), labels (B,)."""
        return 0.0

    def state_dict(self) -> dict[str, Tensor]:
        """What training has changed, by name."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave, from the learner's whole state."""


def open_keys(source: KeySource, setting: Setting, clip: FrozenClip, pull: float) -> Keys:
    """The keys that ``source`` names; ``pull`` weighs the loss term of learned ones.

    Raises :class:`UserError` where the first stage's keys are missing.
    """
    stream = setting.stream
    if source == "learned":
        return LearnedKeys(stream.n_classes, clip.dim, setting.device, pull)
    if source == "first_stage":
        if setting.keys is None:
            raise UserError(
                "STAR-Prompt needs the keys of a first stage: name the method that makes "
                "them under `keys` in its YAML, or choose another `key_source`."
            )
        return FirstStageKeys(setting.keys, setting.device)
    templates = list(stream.templates)
    return TemplateKeys(
        clip, stream.class_names, templates if source == "ensemble" else templates[:1]
    )


class FirstStageKeys(Keys):
    """Keys that a finished first stage left in its checkpoint, opened class by class.

    A class's key is final once its own task has ended, so the first stage may have run on to its
    last task; but what task t may use is only what had been learned by then. Rows beyond
    ``reveal`` are never read from the file.
    """

    def __init__(self, run_folder: Path, device: torch.device) -> None:
        self._file = Path(run_folder) / CHECKPOINT
        self._device = device
        self._seen = torch.empty(0)
        if not self._file.exists():
            raise UserError(
                f"There are no first-stage keys at {self._file}; run that method first "
                "(the workflow does it by itself)."
            )
        try:
            with safe_open(self._file, "pt") as checkpoint:
                names = list(checkpoint.keys())
                shape = checkpoint.get_slice("keys").get_shape() if "keys" in names else []
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"{self._file} is incomplete or damaged ({error}); remove its run's folder "
                "and run it again."
            ) from error
        if len(shape) != 2:
            raise UserError(f"{self._file} holds no keys; give the checkpoint of a first stage.")
        self.n_classes, self.dim = shape

    def reveal(self, seen: int) -> None:
        """Open the keys of the first ``seen`` classes; only more can be opened, never fewer."""
        if seen < len(self._seen) or seen > self.n_classes:
            raise LookupError(
                f"{seen} classes can't be opened: {len(self._seen)} of {self.n_classes} are open"
            )
        with safe_open(self._file, "pt") as checkpoint:
            keys = checkpoint.get_slice("keys")[:seen]
        if not keys.isfinite().all():
            raise UserError(
                f"{self._file} holds keys that are not finite; remove its run's folder and "
                "run it again."
            )
        self._seen = keys.to(self._device)

    def upto(self, n: int) -> Tensor:
        if n > len(self._seen):
            raise LookupError(f"key of class {n - 1} asked for, {len(self._seen)} classes are seen")
        return self._seen[:n]


class TemplateKeys(FirstStageKeys):
    """Keys from hand-written templates, averaged before normalisation (released
    `load_default_prompt_templates`); constant, so that seeing a class only makes its key known."""

    def __init__(self, clip: FrozenClip, class_names: tuple[str, ...], templates: list[str]):
        texts = [clip.encode_texts([t.format(n) for n in class_names]) for t in templates]
        self._keys = F.normalize(torch.stack(texts).mean(dim=0), dim=-1)
        self._device = self._keys.device
        self._seen = torch.empty(0)
        self.n_classes, self.dim = self._keys.shape

    def reveal(self, seen: int) -> None:
        self._seen = self._keys[:seen]


class LearnedKeys(Keys):
    """Free vectors that the second stage goes on training, past ones too: the ablation without a
    first stage. Each image pulls its own class's key: ``pull`` * mean (1 - cos(query, own key))."""

    def __init__(self, n_classes: int, dim: int, device: torch.device, pull: float) -> None:
        # Of unit length: Adam's steps don't grow with a key, and would hardly turn a long one.
        self.free = nn.Parameter(F.normalize(torch.randn(n_classes, dim, device=device), dim=-1))
        self._pull = pull

    def reveal(self, seen: int) -> None:
        """Nothing to open: a class's vector says nothing before its images have trained it."""

    def upto(self, n: int) -> Tensor:
        return F.normalize(self.free[:n], dim=-1)

    def parameters(self) -> list[nn.Parameter]:
        return [self.free]

    def loss(self, query: Tensor, labels: Tensor) -> Tensor:
        own = F.normalize(self.free, dim=-1)[labels]
        return self._pull * (1 - F.cosine_similarity(query, own)).mean()

    def state_dict(self) -> dict[str, Tensor]:
        return {"free_keys": self.free.detach()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.free.copy_(state["free_keys"])
