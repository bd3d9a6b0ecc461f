"""Start torch and the libraries on it without PyTorch's compiler, which a run rarely uses.

torchvision, timm and the first optimiser each import ``torch._dynamo``, a third of what a process
takes to start. Where nothing is compiled, all that they ask of it is ``disable``, which keeps a
function from being compiled, ``graph_break`` and ``is_compile_supported``. Two stand-ins answer
these; when something asks for more, they make way for the real modules.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER, UTILITIES = "torch._dynamo", "torch._dynamo.utils"


class _StandIn(ModuleType):
    """A module that imports the real one in its place when it is asked for what it lacks."""

    def __getattr__(self, name: str) -> Any:
        # Code that looks through all modules asks for such names; it doesn't mean the compiler.
        if name.startswith("__") and (name, self.__name__) != ("__path__", COMPILER):
            raise AttributeError(f"the stand-in of {self.__name__} has no {name}")
        _make_way()
        return getattr(import_module(self.__name__), name)


def leave_the_compiler_out() -> None:
    """From here on ``torch._dynamo`` is imported when something is compiled, not before.

    Functions that ask meanwhile not to be compiled stay as they are, so this is for processes that
    compile nothing (``compile: false``). Nothing happens where the compiler is imported already.
    """
    if COMPILER in sys.modules:
        return
    compiler, utilities = _StandIn(COMPILER), _StandIn(UTILITIES)
    compiler.disable = _disable  # type: ignore[attr-defined]
    compiler.graph_break = _graph_break  # type: ignore[attr-defined]
    compiler.utils = utilities  # type: ignore[attr-defined]
    utilities.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    sys.modules[COMPILER], sys.modules[UTILITIES] = compiler, utilities


def is_left_out() -> bool:
    """Whether the compiler has been left out and nothing has asked for it since."""
    return isinstance(sys.modules.get(COMPILER), _StandIn)


def _make_way() -> None:
    for name in (COMPILER, UTILITIES):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


def _disable(
    function: Callable[..., Any] | None = None, *options: object, **named: object
) -> Callable[..., Any]:
    """As ``torch._dynamo.disable``, also as a decorator with options: the function itself."""
    return (lambda decorated: decorated) if function is None else function


def _graph_break(message: str = "") -> None:
    """As ``torch._dynamo.graph_break``, which says something to the compiler alone."""


def _is_compile_supported(device_type: str) -> bool:
    _make_way()
    return bool(import_module(UTILITIES).is_compile_supported(device_type))
