"""One epoch of the head's alignment: 256 replayed features per class, 768 dimensions.

Ours draws all classes at once from the mixtures and takes its batches from that tensor: no loop
over classes, and nothing in the loop over steps waits for the device. The reference, in this file,
works as the released code does: a loop over classes and their Gaussians, a data loader over single
samples, a mask over the logits, the loss read at every step.

A task t has 10 + 5 t such epochs: the last of ten tasks 55. On a GPU 200 classes, an epoch of 400
steps of 128 features; a step's two products take 2 * 2 * 128 * 768 * 200 = 79 million operations.
On the CPU 40 classes, one thread, and its CPU time.
"""

import torch
import torch.nn.functional as F
from _timing import best, report
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from starprompt.replay.feature_replay import replay_epoch
from starprompt.replay.head_alignment import align_head
from starprompt.replay.mixture import Mixtures

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CLASSES = 200 if DEVICE.type == "cuda" else 40
DIM, COMPONENTS, SAMPLES, BATCH = 768, 5, 256, 128
EPOCHS = 10 + 5 * 9  # of the last of ten tasks


def make_mixtures(device: torch.device) -> Mixtures:
    """Random ones: weights, means and variances of unit order."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(CLASSES, COMPONENTS, generator=generator)
    means = torch.randn(CLASSES, COMPONENTS, DIM, generator=generator)
    variances = 0.1 + torch.rand(CLASSES, COMPONENTS, DIM, generator=generator)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return Mixtures(weights.to(device), means.to(device), variances.to(device))


def naive_draws(mixtures: Mixtures) -> tuple[Tensor, Tensor]:
    """SAMPLES features a class, class after class and Gaussian after Gaussian."""
    features, labels = [], []
    for label in range(CLASSES):
        chosen = torch.multinomial(mixtures.weights[label], SAMPLES, replacement=True)
        for component in range(COMPONENTS):
            count = int((chosen == component).sum())
            if count:
                gaussian = torch.distributions.Normal(
                    mixtures.means[label, component], mixtures.variances[label, component].sqrt()
                )
                features.append(gaussian.sample((count,)))
                labels += [label] * count
    return torch.cat(features), torch.tensor(labels, device=mixtures.means.device)


def naive_epoch(head: nn.Linear, mixtures: Mixtures) -> None:
    optimiser = torch.optim.SGD(head.parameters(), lr=0.001)
    loader = DataLoader(TensorDataset(*naive_draws(mixtures)), BATCH, shuffle=True)
    for features, labels in loader:
        logits = head(features)
        mask = torch.zeros_like(logits)
        mask[:, CLASSES:] = -float("inf")
        logits = logits + mask
        norm = logits[:, :CLASSES].norm(dim=-1, keepdim=True) + 1e-7
        loss = F.cross_entropy(logits[:, :CLASSES] / (0.1 * norm), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()


def main() -> None:
    device = DEVICE
    torch.set_num_threads(1)
    torch.manual_seed(0)
    mixtures = make_mixtures(device)
    head = nn.Linear(DIM, CLASSES).to(device)

    def ours() -> None:
        align_head(head, replay_epoch(mixtures, SAMPLES, BATCH), 0.001, CLASSES)

    def draw() -> None:
        mixtures.sample(SAMPLES)

    fast, sampling = best(ours, 3, device), best(draw, 3, device)
    slow = best(lambda: naive_epoch(head, mixtures), 2, device, warm_up=False)
    naive_sampling = best(lambda: naive_draws(mixtures), 2, device, warm_up=False)
    print(f"{device.type}: {CLASSES} classes x {SAMPLES} x {DIM}, batches of {BATCH}")
    print(f"  class by class  {slow:7.3f} s an epoch, of it drawing {naive_sampling:6.3f} s")
    print(f"  ours            {fast:7.3f} s an epoch, of it drawing {sampling:6.3f} s")
    print(f"  the last of ten tasks, {EPOCHS} epochs: {EPOCHS * fast:.1f} s")
    report(
        "head_alignment",
        round(slow / fast, 2),
        seconds_an_epoch=round(fast, 4),
        reference_seconds_an_epoch=round(slow, 4),
        drawing_seconds=round(sampling, 4),
        reference_drawing_seconds=round(naive_sampling, 4),
        classes=CLASSES,
        device=device.type,
    )


if __name__ == "__main__":
    main()
