"""A reproducibility suite for prompt-based continual learning."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starprompt.finished.loaded_run import load_run

__all__ = ["__version__", "load_run"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """``load_run``, imported when it is first asked for: it brings torch."""
    if name == "load_run":
        from starprompt.finished.loaded_run import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
