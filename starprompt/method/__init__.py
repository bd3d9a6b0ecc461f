"""STAR-Prompt itself, in its two stages, as the paper has it."""
