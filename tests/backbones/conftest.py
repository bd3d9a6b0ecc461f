"""An empty weights folder, and a small CLIP of open_clip's."""

from pathlib import Path

import pytest

from starprompt.backbones import weights


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder, and a hub that cannot be reached."""
    monkeypatch.setenv("STARPROMPT_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(weights, "_in_hub_cache", lambda source: None)
    monkeypatch.setattr(weights, "_why_unreachable", lambda: "the hub is shut")
    return tmp_path


@pytest.fixture
def small_clip(monkeypatch: pytest.MonkeyPatch) -> dict:
    """ViT-B-32 shrunk in open_clip's own registry, with and without QuickGELU."""
    from open_clip import factory

    for name, quick in (("ViT-B-32", False), ("ViT-B-32-quickgelu", True)):
        config = {
            "embed_dim": 16,
            "quick_gelu": quick,
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
            "text_cfg": {
                "context_length": 77,
                "vocab_size": 49408,
                "width": 32,
                "heads": 2,
                "layers": 1,
            },
        }
        monkeypatch.setitem(factory._MODEL_CONFIGS, name, config)
    return config
