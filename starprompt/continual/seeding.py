"""Seeds: every random number of a run follows from the run's seed and the place in the run.

Generators are seeded again at the beginning of every task, never carried over from the task before:
that is why a run resumed at task t draws the numbers that an undisturbed one would have drawn. A
run that stops within a task keeps their states.
"""

import hashlib
import json
import random
from collections.abc import Mapping
from numbers import Integral

import numpy as np
import torch
from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2**63) from any sequence of names and numbers, e.g. ``(1993, "task", 3)``.

    Equal parts give equal seeds on every machine; different parts give unrelated ones.
    """
    plain = [int(part) if isinstance(part, Integral) else str(part) for part in parts]
    digest = hashlib.sha256(json.dumps(plain).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_everything(*parts: int | str) -> int:
    """Seed Python's, NumPy's and torch's (every device's) global generators; return the seed."""
    seed = derive_seed(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    return seed


def generators_state(device: torch.device) -> dict[str, Tensor]:
    """The states of the global generators that a run draws from, as tensors by name."""
    _, words, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state()  # type: ignore[misc]
    assert kind == "MT19937"
    state = {
        "python.words": torch.tensor(words, dtype=torch.int64),
        "python.gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy.keys": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
        "numpy.place": torch.tensor([place, has_gauss], dtype=torch.int64),
        "numpy.cached": torch.tensor(cached, dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_generators(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Restore the global generators to what :func:`generators_state` gave."""
    gauss = state["python.gauss"].tolist()
    random.setstate((3, tuple(state["python.words"].tolist()), gauss[0] if gauss else None))
    place, has_gauss = state["numpy.place"].tolist()
    keys = state["numpy.keys"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, place, has_gauss, float(state["numpy.cached"])))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
