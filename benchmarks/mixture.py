"""Mixtures of 20 classes x 500 samples x 768 dimensions, M = 5: one batched EM against one a class.

The naive form fits class after class with scikit-learn. Per iteration and class EM costs
8 * N * d * M operations (15 million here) and reads the samples and their squares twice
(6 MB); a class after another these reads are the same, but each pays for its own start and calls.
"""

import json
import time
import warnings

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from starprompt.replay.mixture import fit_mixtures

CLASSES, SAMPLES, DIM, COMPONENTS = 20, 500, 768, 5


def make_classes() -> list[torch.Tensor]:
    """Classes of overlapping clusters with CLIP-like means, deviations and unequal dimensions."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    classes = []
    for _ in range(CLASSES):
        spread = 0.2 + normal(DIM).abs()
        centres = normal(DIM) + 0.15 * spread * normal(COMPONENTS, DIM)
        member = torch.randint(COMPONENTS, (SAMPLES,), generator=generator)
        classes.append(centres[member] + spread * normal(SAMPLES, DIM))
    return classes


def main() -> None:
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(2)
    classes = make_classes()
    generator = torch.Generator().manual_seed(1)
    fit_mixtures(classes[:2], COMPONENTS, generator=generator)  # first calls allocate
    times = []
    for _ in range(3):
        start = time.perf_counter()
        fit = fit_mixtures(classes, COMPONENTS, generator=generator)
        times.append(time.perf_counter() - start)
    ours = min(times) / CLASSES

    start = time.perf_counter()
    naive_scores = []
    for features in classes:
        one = GaussianMixture(COMPONENTS, covariance_type="diag", random_state=0)
        one.fit(features.numpy())
        naive_scores.append(one.score(features.numpy()))
    naive = (time.perf_counter() - start) / CLASSES

    our_score = float(fit.log_likelihood.mean())
    naive_score = sum(naive_scores) / CLASSES
    worst = max(
        (n - o) / abs(n) for n, o in zip(naive_scores, fit.log_likelihood.tolist(), strict=True)
    )
    print(f"{CLASSES} classes x {SAMPLES} x {DIM}, M = {COMPONENTS}")
    print(f"  scikit-learn {1e3 * naive:7.1f} ms a class, log-likelihood {naive_score:10.3f}")
    print(f"  ours         {1e3 * ours:7.1f} ms a class, log-likelihood {our_score:10.3f}")
    print(
        json.dumps(
            {
                "name": "mixture",
                "ratio": round(naive / ours, 2),
                "seconds_a_class": round(ours, 5),
                "log_likelihood": our_score,
                "sklearn_log_likelihood": naive_score,
                "worst_class_shortfall": worst,
                "threads": torch.get_num_threads(),
            }
        )
    )


if __name__ == "__main__":
    main()
