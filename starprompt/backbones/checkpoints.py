"""From a weights file into a model: architectures built by their libraries, tensors checked."""

import logging
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from starprompt.backbones.names import Source
from starprompt.errors import UserError

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

log = logging.getLogger(__name__)

_RANDOM_SEED = 0


def build_clip(source: Source) -> nn.Module:
    """open_clip's CLIP of ``source``, float32, on the CPU; weights random, equal at every call."""
    import open_clip

    config: dict[str, Any] = open_clip.get_model_config(source.model)
    if source.quick_gelu and not config.get("quick_gelu"):
        log.info("%s: these weights need QuickGELU; it is switched on", source.name)
        config["quick_gelu"] = True
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        return open_clip.CLIP(**config)


def build_vit(source: Source, num_classes: int) -> Any:
    """timm's model of ``source``, float32, on the CPU; weights random, equal at every call.

    The head is random in any case, drawn from torch's global generator.
    """
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        model: Any = timm.create_model(source.model, pretrained=False, num_classes=0)
    if num_classes:
        model.reset_classifier(num_classes)
    return model


def load_clip_file(model: nn.Module, source: Source, file: Path) -> None:
    """Put a weights file into a model of :func:`build_clip`; every tensor must have its place.

    Raises:
        UserError: unreadable without running code, of another model, or OpenAI's weights under a
            name without QuickGELU, with which they would give quietly wrong features.
    """
    import open_clip

    _refuse_torchscript(file)
    if source.quick_gelu is None and not _uses_quick_gelu(source) and _looks_like_openai(file):
        raise UserError(
            f"{file} looks like OpenAI's weights, which need QuickGELU: write "
            f"{source.model}-quickgelu@{file}, or {source.model}/TAG@{file} with the tag of "
            "open_clip's that they really are."
        )
    with _Explained(source, file):
        open_clip.load_checkpoint(model, str(file), strict=True, weights_only=True)
    if source.quick_gelu is None and not _uses_quick_gelu(source) and _fits_float16(model):
        log.warning(
            "%s holds float16 values, as OpenAI's CLIP does; if it is theirs, write %s-quickgelu",
            file,
            source.model,
        )


def load_vit_file(model: "VisionTransformer", source: Source, file: Path) -> None:
    """Put a weights file into a model of :func:`build_vit`, its head excepted.

    Raises:
        UserError: unreadable without running code, or of another model.
    """
    from timm.models import load_state_dict
    from timm.models.vision_transformer import checkpoint_filter_fn

    _refuse_torchscript(file)
    with _Explained(source, file):
        state = checkpoint_filter_fn(load_state_dict(str(file), weights_only=True), model)
        state = {name: value for name, value in state.items() if not name.startswith("head.")}
        found = model.load_state_dict(state, strict=False)
        wrong = [name for name in found.missing_keys if not name.startswith("head.")]
        if wrong or found.unexpected_keys:
            raise ValueError(f"missing {wrong[:3]}, unknown {found.unexpected_keys[:3]}")


def check(source: Source, file: Path) -> None:
    """Raise :class:`UserError` unless ``file`` holds whole weights of ``source``."""
    if source.kind == "clip":
        load_clip_file(build_clip(source), source, file)
    else:
        load_vit_file(build_vit(source, 0), source, file)


class _Explained:
    """Turns whatever a library raises over a weights file into one sentence."""

    def __init__(self, source: Source, file: Path) -> None:
        self.source, self.file = source, file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        if isinstance(error, MemoryError) or not isinstance(error, Exception):
            return
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{self.file} does not hold readable weights of {self.source.model}: {reason}"
        ) from error


def _uses_quick_gelu(source: Source) -> bool:
    import open_clip

    return bool(open_clip.get_model_config(source.model).get("quick_gelu"))


def _looks_like_openai(file: Path) -> bool:
    """By the names they go by: no tensor tells them for certain from other CLIP weights."""
    return any("openai" in part.lower() for part in file.absolute().parts[-2:])


def _fits_float16(model: Any) -> bool:
    weight = model.text_projection
    weight = weight.weight if isinstance(weight, nn.Linear) else weight
    return bool(torch.equal(weight, weight.half().float()))


def _refuse_torchscript(file: Path) -> None:
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError(
            f"{file} is a TorchScript program, not weights alone; take the safetensors form "
            "instead (for OpenAI's CLIP: open_clip_model.safetensors of "
            "https://huggingface.co/timm/vit_large_patch14_clip_224.openai or its siblings)."
        )
