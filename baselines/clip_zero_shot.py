"""CLIP without any learning: the class whose text lies nearest to the image.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML
2021, Sec. 3.1.
"""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from starprompt.continual.learner import BaseHyperparameters, Learner
from starprompt.data.batch import Batch
from starprompt.data.stream import Task


class ClipZeroShot(Learner):
    """Cosine to the text features of the data set's templates, over the classes seen."""

    class Hyperparameters(BaseHyperparameters):
        """One template or all of them, averaged."""

        ensemble: bool = False

    train_inputs: ClassVar[tuple[str, ...]] = ("features",)
    test_inputs: ClassVar[tuple[str, ...]] = ("features",)
    hp: Any

    def setup(self) -> None:
        stream = self.setting.stream
        templates = stream.templates if self.hp.ensemble else stream.templates[:1]
        clip = self.setting.clip()
        # Each template's features are normalised, averaged and normalised again (Sec. 3.1.4).
        features = [
            F.normalize(clip.encode_texts([t.format(name) for name in stream.class_names]), dim=-1)
            for t in templates
        ]
        self.texts = F.normalize(torch.stack(features).mean(dim=0), dim=-1)
        self.scale = clip.logit_scale
        self.seen = 0

    def begin_task(self, task: Task) -> None:
        self.seen = task.seen_classes

    def predict(self, batch: Batch) -> Tensor:
        assert batch.clip is not None
        return self.scale * F.normalize(batch.clip, dim=-1) @ self.texts[: self.seen].T

    def state_dict(self) -> dict[str, Tensor]:
        return {"texts": self.texts, "seen": torch.tensor(self.seen)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.seen = int(state["seen"])

    def parameter_counts(self) -> dict[str, int]:
        return {"trained": 0, "stored": self.texts.numel()}
