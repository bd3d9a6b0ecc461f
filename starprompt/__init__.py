"""A reproducibility suite for prompt-based continual learning."""

__version__ = "0.1.0"
