"""Where the second stage's keys come from. A class that was not yet seen has no key to give."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

from starprompt.backbones.clip import FrozenClip
from starprompt.errors import UserError


class FirstStageKeys:
    """Keys that a finished first stage left in its checkpoint, opened class by class.

    A class's key is final once its own task has ended, so the first stage may have run on to its
    last task; but what task t may use is only what had been learned by then. Rows beyond
    ``reveal`` are never read from the file.
    """

    def __init__(self, run_folder: Path, device: torch.device) -> None:
        self._file = Path(run_folder) / "checkpoint.safetensors"
        self._device = device
        self._seen = torch.empty(0)
        if not self._file.exists():
            raise UserError(
                f"There are no first-stage keys at {self._file}; run that method first "
                "(the workflow does it by itself)."
            )
        with safe_open(self._file, "pt") as checkpoint:
            if "keys" not in checkpoint.keys():  # noqa: SIM118 - not a mapping
                raise UserError(f"{self._file} holds no keys; is it a first stage's checkpoint?")
            self.n_classes, self.dim = checkpoint.get_slice("keys").get_shape()

    def reveal(self, seen: int) -> None:
        """Open the keys of the first ``seen`` classes; only more can be opened, never fewer."""
        if seen < len(self._seen) or seen > self.n_classes:
            raise LookupError(
                f"{seen} classes can't be opened: {len(self._seen)} of {self.n_classes} are open"
            )
        with safe_open(self._file, "pt") as checkpoint:
            self._seen = checkpoint.get_slice("keys")[:seen].to(self._device)

    def upto(self, n: int) -> Tensor:
        """(n, d) unit keys of the first n classes. Raises LookupError for one not yet seen."""
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
