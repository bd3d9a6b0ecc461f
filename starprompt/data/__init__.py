"""Data sets: sources, preparation, splits, the task stream, transforms."""
