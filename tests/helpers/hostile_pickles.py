"""Pickles that run code, and how a test sees that they ran."""

from pathlib import Path


class Reduces:
    """Pickles as a call of whatever it is given."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"
