"""timm's plain VisionTransformer, with pretrained weights, ready for prompts to be put into it."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from timm.layers import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from starprompt.backbones import checkpoints, weights
from starprompt.backbones.activations import Activations, vit_activations
from starprompt.backbones.blocks import block_output, embedded
from starprompt.backbones.compiled import FirstSize, compile_blocks
from starprompt.backbones.names import parse_vit
from starprompt.backbones.preprocess import ChannelStatistics
from starprompt.errors import UserError
from starprompt.precision import in_tower, require_precision


class TowerViT(VisionTransformer):
    """timm's transformer as it is, whose products are computed in a run's precision.

    Its outputs are float32, frozen or trained, whatever it computes in.
    """

    precision: str = "float32"
    #: set where blocks run compiled
    first_size: FirstSize | None = None

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:
        """As timm's, float32 in and out."""
        of_size = self.first_size(len(x)) if self.first_size else nullcontext()
        with in_tower(self.precision, x.device), of_size:
            if self.first_size or args or options:
                out = super().forward(x, *args, **options)
            else:
                out = self.forward_head(self._class_token(x))
        return out.float() if out.dtype == torch.bfloat16 else out

    def _class_token(self, images: Tensor) -> Tensor:
        """(B, 1, D): what ``forward_features`` has first, and all that the head reads."""
        x = embedded(self, images)
        *blocks, last = self.blocks
        for block in blocks:
            x = block(x)
        return self.norm(block_output(last, x, leading=1))

    def activations(self) -> Activations:
        """What an image takes in it; frozen, it keeps nothing."""
        trained = any(parameter.requires_grad for parameter in self.parameters())
        found = vit_activations(self, self.precision, trained=trained)
        return found if trained else replace(found, kept=0)


def load_vit(
    name: str,
    device: torch.device | str = "cpu",
    num_classes: int = 0,
    *,
    image_size: int | None = None,
    precision: str = "float32",
    compile: bool = False,
) -> VisionTransformer:
    """A fresh ViT by its name, float32, in evaluation mode, on ``device``; it may be trained.

    Names: ``tiny`` (comes with the package); timm's, as in ``vit_base_patch16_224.augreg_in21k``;
    ``NAME@FILE`` for weights in a local file; ``NAME/random`` for random weights, equal at every
    call. ``num_classes`` gives it a new head, drawn from torch's global generator; 0 none.
    It reads images of ``image_size`` pixels, by default of those that its weights were trained on;
    for another size timm resamples their position embeddings (bicubic).
    ``precision`` is that of its products, not of its weights; ``compile`` compiles its blocks.

    Raises:
        UserError: an unknown name, a model that is not a plain VisionTransformer, weights that
            are not there, cannot be read or belong to another model.
    """
    if name == "tiny":
        from starprompt.backbones.tiny.models import load_tiny_vit

        refuse_other_size(name, image_size)
        tiny = refuse_unless_plain(load_tiny_vit(num_classes), name)
        return _tower(tiny, precision, compile).to(device)
    source = parse_vit(name)
    file = None if source.random else weights.resolve(source)
    vit = refuse_unless_plain(checkpoints.build_vit(source, num_classes, image_size), name)
    if file is not None:
        checkpoints.load_vit_file(vit, source, file)
    return _tower(vit.eval(), precision, compile).to(device)


def _tower(vit: VisionTransformer, precision: str, compile: bool) -> TowerViT:
    """``vit`` itself, as a :class:`TowerViT`: the class is changed, so that copies keep it."""
    vit.__class__ = TowerViT
    assert isinstance(vit, TowerViT)
    vit.precision = require_precision(precision)
    if compile:
        vit.first_size = FirstSize()
        compile_blocks(vit.blocks)
    return vit


def vit_normalisation(name: str) -> Callable[[Tensor], Tensor]:
    """Normalises (B,3,H,W) views in [0, 1] to the statistics the weights were trained with."""
    if name == "tiny":
        from starprompt.backbones.tiny.models import NORMALISATION

        return ChannelStatistics(*NORMALISATION["vit"])
    statistics = parse_vit(name).statistics
    assert statistics is not None, "timm states them for every model"
    return ChannelStatistics(*statistics)


def built_for(name: str, image_size: int) -> dict[str, str]:
    """{"image_size": ...} for records, where a ViT is built for another size than its weights'."""
    own = None if name == "tiny" else parse_vit(name).image_size
    return {} if own in (None, image_size) else {"image_size": str(image_size)}


def refuse_other_size(name: str, image_size: int | None) -> None:
    """Raise :class:`UserError` where the tiny ViT is asked to read another size than its own."""
    from starprompt.backbones.tiny.glyphs import IMAGE_SIZE

    if image_size not in (None, IMAGE_SIZE):
        raise UserError(
            f"The {name} ViT reads views of {IMAGE_SIZE} pixels, and the data set's are of "
            f"{image_size}; set its image_size and transforms to {IMAGE_SIZE}, or choose another "
            "ViT under `backbones`."
        )


def vit_digest(name: str, image_size: int | None = None) -> str:
    """Hex SHA-256 of the weights that ``name`` means: of their file or, if random, of the tensors.

    Raises:
        UserError: as :func:`load_vit`.
    """
    if name == "tiny":
        from starprompt.backbones.tiny.models import WEIGHTS

        return weights.sha256_file(WEIGHTS["vit"])
    source = parse_vit(name)
    if source.random:
        return weights.state_digest(load_vit(name, image_size=image_size))
    return weights.sha256_file(weights.resolve(source))


def refuse_unless_plain(model: nn.Module, name: str) -> VisionTransformer:
    """``model`` if it is a VisionTransformer with a class token that is what the head reads.

    Raises:
        UserError: otherwise, with what differs.
    """
    problem = None
    if type(model) is not VisionTransformer:
        problem = f"it is a {type(model).__name__}"
    elif model.cls_token is None or model.global_pool != "token":
        problem = f"its head reads {model.global_pool!r} instead of the class token"
    elif any(type(b) is not Block or type(b.attn) is not Attention for b in model.blocks):
        problem = "its blocks are not the standard ones"
    if problem is None:
        assert isinstance(model, VisionTransformer)
        return model
    raise UserError(
        f"{name!r} is not a plain VisionTransformer of timm ({problem}), which prompts need; "
        "choose one such as 'vit_base_patch16_224.augreg_in21k'."
    )
