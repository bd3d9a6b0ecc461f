"""Digests of single kernels and of one short run, printed as JSON: what `processors.py` compares.

    python tests/portability/short_run.py kernels
    python tests/portability/short_run.py run
    python tests/portability/short_run.py trace     # one line an operation, to find the first
                                                    # that two processors compute differently

The run prepares the digits, embeds them with the tiny CLIP and learns the first two tasks in both
stages, one epoch each. It leaves its files in a temporary folder.
"""

import argparse
import hashlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from starprompt.machine import numerics  # noqa: E402 - the path comes first

EXPERIMENT = {
    "name": "short",
    "title": "Two tasks, one epoch",
    "datasets": ["digits"],
    "methods": ["starprompt"],
    "seeds": [1993],
    "device": "cpu",
    "numerics": "portable",
}
FIRST = {"epochs": 1, "em_iterations": 20, "replay_epochs": 1}
SECOND = FIRST | {"replay_epochs_per_task": 1}


def digest(value: object) -> str:
    """The first 12 digits of the SHA-256 of a tensor's, an array's or a file's bytes."""
    if isinstance(value, Path):
        data = value.read_bytes()
    elif hasattr(value, "detach"):
        data = value.detach().contiguous().numpy().tobytes()
    else:
        import numpy as np

        data = np.ascontiguousarray(value).tobytes()
    return hashlib.sha256(data).hexdigest()[:12]


def adam_step(start: Any) -> Any:
    """Parameters after two steps of Adam on the sum of their squares."""
    import torch

    parameter = torch.nn.Parameter(start)
    optimiser = torch.optim.Adam([parameter], lr=0.01)
    for _ in range(2):
        optimiser.zero_grad()
        parameter.square().sum().backward()
        optimiser.step()
    return parameter


def kernels() -> dict[str, str]:
    """One digest a kernel, of fixed inputs: torch, NumPy, SciPy, scikit-learn, the C library."""
    import numpy as np
    import torch
    import torch.nn.functional as F
    from scipy import stats
    from scipy.special import logsumexp
    from sklearn.mixture import GaussianMixture

    random = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randint(-(2**23), 2**23, shape, generator=random) / 2**20

    a, b = numbers(300, 200), numbers(200, 130)
    x, w = numbers(8, 8, 10, 10).requires_grad_(), numbers(16, 8, 3, 3).requires_grad_()
    q, square = numbers(4, 4, 16, 32), numbers(60, 40).double()
    gram = square.T @ square + torch.eye(40)
    n = a.double().numpy()
    convolved = F.conv2d(x, w, padding=1)
    convolved.square().sum().backward()
    assert x.grad is not None and w.grad is not None
    mixture = GaussianMixture(3, covariance_type="diag", random_state=0).fit(n[:, :10])
    computed: dict[str, object] = {
        "input": a,
        "product": a @ b,
        "product, float64": a.double() @ b.double(),
        "matrix and vector": a @ b[:, 0],
        "batched product": torch.bmm(q[0], q[1].transpose(1, 2)),
        "convolution": convolved,
        "convolution's gradients": torch.cat((x.grad.flatten(), w.grad.flatten())),
        "attention": F.scaled_dot_product_attention(q, q, q),
        "exp, log": torch.stack(((a / 8).exp(), (a.abs() + 1).log())),
        "square root": torch.cat((a.abs().sqrt(), a.abs().double().sqrt().float())),
        "distances": torch.cdist(a, numbers(50, 200)),
        "Adam's step": adam_step(numbers(50, 20)),
        "softmax, GELU": torch.stack((a.softmax(1), F.gelu(a))),
        "layer norm, sum": torch.cat((F.layer_norm(a, (200,)).flatten(), a.sum().reshape(1))),
        "normal draws": torch.randn(1000, generator=random),
        "Cholesky, solve": torch.cat((torch.linalg.cholesky(gram), torch.linalg.inv(gram))),
        "SVD, QR": torch.cat((torch.linalg.svdvals(square), torch.linalg.qr(square)[0].flatten())),
        "NumPy product": n @ b.double().numpy(),
        "NumPy exp, log, sin": [np.exp(n / 8), np.log(np.abs(n) + 1), np.sin(n)],
        "NumPy mean, deviation": [n.mean(0), n.std(0)],
        "SciPy": [logsumexp(n, axis=1), stats.rankdata(n[:, 0]), np.linalg.norm(n, axis=1)],
        "scikit-learn mixture": mixture.means_,
        "C library": [[math.exp(i / 7), math.sin(i), math.log(i + 1)] for i in range(1000)],
    }
    return {name: digest(value) for name, value in computed.items()}


def short_run() -> dict[str, str]:
    """Digests of the prepared images, the features and what both stages leave.

    Predictions by their file, the rest by its tensors: the order of a safetensors header is random.
    """
    from safetensors.torch import load_file

    from starprompt.config.experiment import Run, load_config
    from starprompt.data.commands import prepare_all, specs
    from starprompt.training.run import embed, run

    def tensors(path: Path) -> str:
        found = load_file(path)
        parts = [name + digest(found[name]) for name in sorted(found)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["STARPROMPT_DATA"] = name
        os.chdir(REPOSITORY)
        config = load_config(EXPERIMENT)
        list(prepare_all(specs("digits"), place, skip_corrupt=False, workers=1))
        images = place / "prepared" / "digits" / "train_images.npy"
        features = embed(config, "digits")
        stages = {"first stage": "starprompt-first-stage", "second stage": "starprompt"}
        found = {"images": digest(images), "features": tensors(features)}
        for stage, method in stages.items():
            run(
                config,
                Run("digits", method, 1993),
                folder=place / method,
                keys_folder=place / "starprompt-first-stage",
                hyperparameters=FIRST if stage == "first stage" else SECOND,
                first_tasks=2,
            )
            found[stage] = digest(place / method / "predictions.parquet")
            found[f"{stage}'s state"] = tensors(place / method / "checkpoint.safetensors")
    return found


def trace() -> Iterator[str]:
    """Every torch operation of the short run with the digests of what it gave, one a line."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten

    lines: list[str] = []

    class Log(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> object:
            result = func(*args, **(kwargs or {}))
            given = [tuple(v.shape) for v in tree_flatten(args)[0] if isinstance(v, torch.Tensor)]
            made = [digest(v) for v in tree_flatten(result)[0] if isinstance(v, torch.Tensor)]
            lines.append(f"{func} {given} {made}")
            return result

    with Log():
        short_run()
    yield from lines


def main() -> None:
    """Print what was asked for, computed with portable numerics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("kernels", "run", "trace"))
    what = parser.parse_args().what
    numerics.settle("portable")
    numerics.require("portable")
    if what == "trace":
        for line in trace():
            print(line)
    else:
        print(json.dumps(kernels() if what == "kernels" else short_run()))


if __name__ == "__main__":
    main()
