"""Frozen networks: CLIP, the ViT and its prompted form, the tiny pair."""
