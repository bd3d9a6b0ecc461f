"""From a weights file into a model: architectures built by their libraries, tensors checked."""

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from starprompt.backbones.names import Source
from starprompt.errors import UserError, reason

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

log = logging.getLogger(__name__)

_RANDOM_SEED = 0


def build_clip(source: Source) -> nn.Module:
    """open_clip's CLIP of ``source``, float32, on the CPU.

    Its weights are random, equal at every call, if random ones are meant. Otherwise they are
    unset, as a file will overwrite them all: drawing a ViT-L's takes ten seconds.
    """
    import open_clip

    config: dict[str, Any] = open_clip.get_model_config(source.model)
    if source.quick_gelu and not config.get("quick_gelu"):
        log.info("%s: these weights need QuickGELU; it is switched on", source.name)
        config["quick_gelu"] = True
    return _build(lambda: open_clip.CLIP(**config), source.random)


def build_vit(source: Source, num_classes: int, image_size: int | None = None) -> Any:
    """timm's model of ``source``, float32, on the CPU; random or unset as in :func:`build_clip`.

    A head of ``num_classes`` is random in any case, drawn from torch's global generator. It reads
    images of ``image_size`` pixels, by default of the size that its weights were trained on.

    Raises:
        UserError: images of that size cannot be cut into its patches.
    """
    import timm

    options: dict[str, Any] = {}
    if image_size is not None and image_size != source.image_size:
        options["img_size"] = image_size

    def make() -> Any:
        try:
            return timm.create_model(source.model, pretrained=False, num_classes=0, **options)
        except (TypeError, AssertionError, RuntimeError) as error:
            if not options:
                raise
            raise UserError(
                f"{source.model!r} cannot be built for views of {image_size} pixels "
                f"({reason(error)}); choose another ViT or another view."
            ) from error

    model: Any = _build(make, source.random)
    side = model.patch_embed.patch_size[0] if options else 1
    if image_size is not None and image_size % side:
        raise UserError(
            f"Views of {image_size} pixels cannot be cut into the patches of {side} that "
            f"{source.model!r} reads; choose a multiple of {side} for the data set's view."
        )
    if num_classes:
        model.reset_classifier(num_classes)
    return model


def _build(make: Callable[[], nn.Module], random: bool) -> nn.Module:
    model = None if random else _unset(make)
    if model is not None:
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_RANDOM_SEED)
        return make()


def _unset(make: Callable[[], nn.Module]) -> nn.Module | None:
    """The model with memory for its weights and nothing in it; None where that cannot be.

    Buffers that no file holds must be made by hand: CLIP's causal mask is the one we know.
    """
    with torch.device("meta"):
        model: Any = make()
    unsaved = [b for module in model.modules() for b in module._non_persistent_buffers_set]
    if unsaved not in ([], ["attn_mask"]):
        return None
    model.to_empty(device="cpu")
    if unsaved:
        model.attn_mask.fill_(-torch.inf).triu_(1)
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
            f"{source.model}-quickgelu@{file}, or, if they are others, "
            f"{source.model}/TAG@{file} with their tag in open_clip."
        )
    with _Explained(source, file):
        open_clip.load_checkpoint(model, str(file), strict=True, weights_only=True)
    if source.quick_gelu is None and not _uses_quick_gelu(source) and _fits_float16(model):
        log.warning(
            "%s holds float16 values, as OpenAI's CLIP does; if these are OpenAI's weights, "
            "write %s-quickgelu",
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
        given = load_state_dict(str(file), weights_only=True)
        # DeiT-III's own files call layer scales gamma_1 and gamma_2.
        state = checkpoint_filter_fn(given, model, adapt_layer_scale=True)
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
