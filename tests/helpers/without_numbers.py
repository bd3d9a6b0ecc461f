"""Learners on the device "meta", whose tensors have shapes and no numbers.

What a GPU would stumble over shows there on any machine: a tensor left on the host meets one of the
device, and whatever brings a number to the host has to ask for it. PyTorch notices the second
itself; it lets the first pass for some operations, so every operation is looked at.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")


def even_counts(labels: Tensor, weights: None = None, minlength: int = 0) -> Tensor:
    """Counts of labels, shared evenly among the classes: which they are is not known."""
    share, rest = divmod(len(labels), max(minlength, 1))
    return torch.tensor([share + (place < rest) for place in range(max(minlength, 1))])


def all_differ(rows: Tensor, *options: Any, **named: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct ones of rows (n, D), if all of them are."""
    places = torch.arange(len(rows), device=rows.device)
    return rows, places, torch.ones_like(places)


#: What an operation whose result has a size or a value that depends on numbers answers instead.
ANSWERS: dict[str, Callable[..., Any]] = {
    "_local_scalar_dense": lambda scalar: True if scalar.dtype is torch.bool else 1,
    "equal": lambda one, other: True,
    "bincount": even_counts,
    "unique_dim": all_differ,
    "nonzero": lambda mask: torch.empty(mask.numel(), mask.dim(), dtype=torch.int64, device=META),
}


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, and, unless ``waits``, all that would wait.

    waits   the host may copy from and to the device and ask for numbers: it gets ones
    reasons   what it asked for
    """

    def __init__(self, *, waits: bool) -> None:
        super().__init__()
        self.waits = waits
        self.reasons: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            target = torch.device(kwargs.get("device") or args[0].device)
            if target.type != source.device.type:
                self._wait(f"a copy from {source.device} to {target}")
                if target.type == "cpu":
                    ones = torch.ones(source.shape, dtype=kwargs.get("dtype") or source.dtype)
                    return args[0].copy_(ones) if name == "copy_" else ones
        elif name in ANSWERS and args[0].device.type == "meta":
            self._wait(f"the result of {name}")
            return ANSWERS[name](*args, **kwargs)
        else:
            if name in ("index", "index_put", "index_put_"):
                args = (args[0], self._rows_of(args[1]), *args[2:])
            check_one_device(func, args, kwargs)
        return func(*args, **kwargs)

    def _rows_of(self, indices: list[Tensor | None]) -> list[Tensor | None]:
        """The indices with every mask on the device as the places of a mask that is all true."""
        found: list[Tensor | None] = []
        for index in indices:
            if index is None or index.dtype is not torch.bool or index.device != META:
                found.append(index)
                continue
            self._wait("the places of a mask")
            place = torch.empty(index.numel(), dtype=torch.int64, device=META)
            found += [place] * index.dim()
        return found

    def _wait(self, what: str) -> None:
        self.reasons.append(what)
        if not self.waits:
            raise AssertionError(f"the host waits for {what}")


def check_one_device(func: Any, args: Any, kwargs: Any) -> None:
    """Raises AssertionError for tensors of two devices; a CPU scalar is a number to any device."""
    kinds = {
        tensor.device.type
        for tensor in tree_leaves((args, kwargs))
        if isinstance(tensor, Tensor) and (tensor.dim() or tensor.device.type != "cpu")
    }
    if len(kinds) > 1:
        raise AssertionError(f"{func} works on tensors of {' and '.join(sorted(kinds))}")


def host_tensors(thing: Any, path: str = "", seen: set[int] | None = None) -> Iterator[str]:
    """Paths to the tensors of an object that are not on the device, through all its attributes.

    An optimiser's step counts stay on the host on purpose.
    """
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Tensor):
        if thing.device != META:
            yield path
        return
    if isinstance(thing, torch.optim.Optimizer):
        return
    if isinstance(thing, nn.Module):
        named: Any = [*thing.named_parameters(), *thing.named_buffers()]
        named += [(k, v) for k, v in vars(thing).items() if not k.startswith("_")]
    elif isinstance(thing, dict):
        named = thing.items()
    elif isinstance(thing, list | tuple):
        named = enumerate(thing)
    elif hasattr(thing, "__dict__") and not callable(thing):
        named = vars(thing).items()
    else:
        return
    for name, value in list(named):
        yield from host_tensors(value, f"{path}.{name}" if path else str(name), seen)
