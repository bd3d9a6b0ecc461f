"""The tiny frozen pair of the embedded demo: a CLIP and a ViT that need no download.

Importing this package is cheap; ``models`` and ``glyphs`` import torch.
"""
