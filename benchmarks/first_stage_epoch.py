"""One epoch of the first stage from cached features, compared with images encoded again.

Ours reads CLIP's cached features and encodes the current classes' texts, cut after the longest,
once per step. The reference, in this file, works as the released code does: at every step CLIP
encodes every image in float32, and the texts of all classes seen in full length, also those of past
classes.

On the CPU the tiny CLIP and 256 images of 10 classes, 2 of them current, one thread and its CPU
time; on a GPU ViT-L/14 with random weights and 2,400 images of 200 classes, 20 current.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from _timing import best, report
from torch import Tensor, nn

from starprompt.backbones.clip import FrozenClip, load_clip
from starprompt.continual.learner import Setting
from starprompt.continual.seeding import seed_everything
from starprompt.data.batch import Batch, Normalisation, StreamInfo
from starprompt.data.stream import Task
from starprompt.method.first_stage import FirstStage, context_orthogonality

BATCH, REPEATS = 128, 3


class Reference:
    """The first stage's steps, as the released code takes them."""

    def __init__(self, clip: FrozenClip, names: list[str], device: torch.device) -> None:
        self.clip = clip
        ids = clip.tokenize([f"X {name}." for name in names])
        self.tokens = clip.model.token_embedding(ids).detach()  # all of the context's length
        self.eot = clip.prompt_tokens(names).eot
        self.contexts: list[Tensor] = [
            nn.Parameter(0.02 * torch.randn(1, clip.text_width, device=device)) for _ in names
        ]

    def begin_task(self, past: int, seen: int, lr: float = 0.002) -> None:
        self.past, self.seen = past, seen
        self.optimiser = torch.optim.SGD(self.contexts[past:seen], lr=lr)

    def keys(self) -> Tensor:
        """(C, d) unit keys of all classes seen; the current ones' contexts learn."""
        own = [context.detach() for context in self.contexts[: self.past]]
        contexts = torch.cat([*own, *self.contexts[self.past : self.seen]])
        tokens = self.tokens[: self.seen]
        prompts = torch.cat([tokens[:, :1], contexts[:, None], tokens[:, 2:]], dim=1)
        return F.normalize(self.clip.encode_prompts(prompts, self.eot[: self.seen]), dim=-1)

    def logits(self, features: Tensor) -> Tensor:
        return self.clip.logit_scale * F.normalize(features, dim=-1) @ self.keys().T

    def step(self, images: Tensor, labels: Tensor) -> float:
        with torch.no_grad():
            features = self.clip.encode_images(images)
        logits = self.logits(features)
        logits[:, : self.past] = -float("inf")
        past, current = self.contexts[: self.past], self.contexts[self.past : self.seen]
        loss = F.cross_entropy(logits, labels)
        if past:
            loss = loss + 30 * context_orthogonality(torch.cat(past).detach(), torch.cat(current))
        return self._learn(loss)

    def replay_step(self, features: Tensor, labels: Tensor) -> float:
        """On drawn features of all classes seen."""
        return self._learn(F.cross_entropy(self.logits(features), labels))

    def _learn(self, loss: Tensor) -> float:
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()


def main() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    large = device.type == "cuda"
    torch.set_num_threads(1)
    name = "ViT-L-14-quickgelu/random" if large else "tiny"
    n_images, classes, current = (2400, 200, 20) if large else (256, 10, 2)
    clip = load_clip(name, device)
    size = clip.image_size
    random = np.random.default_rng(0)
    names = [f"thing {'abcdefghij'[i % 10]}{i // 10 or ''}" for i in range(classes)]
    past = classes - current
    images = torch.from_numpy(random.integers(0, 256, (n_images, 3, size, size), dtype=np.uint8))
    labels = torch.from_numpy(random.integers(past, classes, n_images)).to(device)
    views = images.to(device)
    with torch.no_grad():
        cached = torch.cat([clip.encode_images(part.float() / 255) for part in views.split(BATCH)])

    info = StreamInfo("random", tuple(names), (past, classes), size, Normalisation())
    seed_everything(0, "setup")
    setting = Setting(
        stream=info,
        device=device,
        seed=0,
        vit=lambda: None,
        clip=lambda: clip,
        vit_normalisation=lambda view: view,
        keys=Path(),
    )
    learner = FirstStage(FirstStage.Hyperparameters(batch_size=BATCH), setting)
    empty: list[Task] = []
    learner.begin_task(Task(1, past, classes, empty, empty, "task"))  # type: ignore[arg-type]
    reference = Reference(clip, names, device)
    reference.begin_task(past, classes)

    def ours() -> None:
        for rows in torch.arange(n_images, device=device).split(BATCH):
            learner.train_step(Batch(ids=rows, labels=labels[rows], clip=cached[rows]))

    def naive() -> None:
        for rows in torch.arange(n_images, device=device).split(BATCH):
            reference.step(views[rows].float() / 255, labels[rows])

    fast, slow = best(ours, REPEATS, device), best(naive, 1, device)
    print(f"{device.type}, CLIP {name}, {n_images} images, {classes} classes, {current} current")
    print(f"  encoded again  {1e3 * slow:9.1f} ms an epoch")
    print(f"  cached         {1e3 * fast:9.1f} ms an epoch, {n_images / fast:,.0f} images/s")
    report(
        "first_stage_epoch",
        round(slow / fast, 1),
        seconds=round(fast, 5),
        reference_seconds=round(slow, 5),
        device=device.type,
        clip=name,
        text_tokens=learner.text.embeddings.shape[1],
        reference_text_tokens=reference.tokens.shape[1],
    )


if __name__ == "__main__":
    main()
