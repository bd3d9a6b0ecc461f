"""Operations, parameters and activations of the backbones that configurations name.

An operation is a floating-point one: a multiply and add are two. Matrix products, convolutions and
attention count, element-wise work does not, as in `torch.utils.flop_counter`, which a test holds
these formulas against.
"""

import re
from dataclasses import dataclass

from starprompt.errors import UserError

FLOAT, HALF = 4, 2
#: tokens of CLIP's vocabulary, and its longest text
VOCABULARY, CONTEXT = 49408, 77


class UnknownCostError(UserError):
    """A backbone that these tables do not know: the run may work, its cost is unknown."""


@dataclass(frozen=True)
class Transformer:
    """A pre-norm transformer: ``depth`` blocks of ``width`` with an MLP four times as wide."""

    width: int
    depth: int
    tokens: int

    @property
    def block_parameters(self) -> int:
        """Of all blocks: qkv, projection, two MLP layers, two norms, with their biases."""
        return self.depth * (12 * self.width**2 + 13 * self.width)

    def operations(self, tokens: int | None = None) -> int:
        """Forward, of one sequence: 24 n D^2 for the layers, 4 n^2 D for attention, a block."""
        n, width = self.tokens if tokens is None else tokens, self.width
        return self.depth * (24 * n * width**2 + 4 * n**2 * width)

    def backward(self, trained: bool, tokens: int | None = None) -> int:
        """Operations of the backward pass of one sequence.

        A linear layer's gradient costs a forward pass for its input and, if trained, another for
        its weights; attention's two products become five, one of them computed anew.
        """
        n, width = self.tokens if tokens is None else tokens, self.width
        linear = 24 * n * width**2 * (2 if trained else 1)
        return self.depth * (linear + 10 * n**2 * width)

    def kept_bytes(self, trained: bool, element: int, tokens: int | None = None) -> int:
        """Bytes that a forward pass keeps of one sequence for the backward pass.

        element  bytes of what autocast computes in (2 or 4); the residual stream stays float32

        Frozen weights need no inputs of linear layers: kept are the inputs of the two norms
        (8 bytes a number), query, key, value and output of attention and the MLP's hidden layer
        before its activation (8 D). Trained ones need the layers' inputs too (6 D).
        """
        n = self.tokens if tokens is None else tokens
        numbers = 14 if trained else 8
        return self.depth * n * self.width * (2 * FLOAT + numbers * element)

    def passing_bytes(self, element: int, tokens: int | None = None) -> int:
        """Bytes that are alive at once in a forward pass that keeps nothing: the stream and the
        MLP's hidden layer, before and after its activation."""
        n = self.tokens if tokens is None else tokens
        return n * self.width * (2 * FLOAT + 8 * element)


@dataclass(frozen=True)
class ViT:
    """timm's plain VisionTransformer without a head."""

    body: Transformer
    patch: int

    @property
    def parameters(self) -> int:
        """Of the blocks, embeddings and last norm, without a head."""
        width, tokens = self.body.width, self.body.tokens
        embedding = (3 * self.patch**2 + 1) * width + (tokens + 1) * width
        return self.body.block_parameters + embedding + 2 * width

    def operations(self, extra_tokens: int = 0, read: int = 1) -> int:
        """Forward, of one image, of which ``read`` tokens are read after the last block."""
        tokens = self.body.tokens + extra_tokens
        spared = self._spared(tokens, read, products=1, attention=4)
        return self._patches + self.body.operations(tokens) - spared

    def backward(self, kind: str, extra_tokens: int = 0, read: int = 1) -> int:
        """Of one image; ``kind`` as :class:`starprompt.config.cost_facts.VitPass` has it.

        Prompts inside the blocks need no gradient from the first block's query, key and value,
        prompts before them do; patches only where their weights are trained.
        """
        tokens = self.body.tokens + extra_tokens
        if kind == "forward":
            return 0
        if kind == "trained":
            spared = self._spared(tokens, read, products=2, attention=10)
            return self.body.backward(True, tokens) + self._patches - spared
        spared = self._spared(tokens, read, products=1, attention=10)
        spared += 0 if extra_tokens else 6 * tokens * self.body.width**2
        return self.body.backward(False, tokens) - spared

    def kept_bytes(self, trained: bool, element: int, extra_tokens: int = 0, read: int = 1) -> int:
        """Bytes that a forward pass keeps of one image for the backward pass.

        Of tokens that nothing reads, the last block keeps the input of its first norm, keys and
        values, and for trained weights that of query, key and value.
        """
        tokens, body = self.body.tokens + extra_tokens, self.body
        a_token = body.kept_bytes(trained, element, tokens) // (body.depth * tokens)
        needed = body.width * (FLOAT + (3 if trained else 2) * element)
        return body.kept_bytes(trained, element, tokens) - (tokens - read) * (a_token - needed)

    def _spared(self, tokens: int, read: int, products: int, attention: int) -> int:
        """Operations that the last block spares, as only ``read`` of its tokens are read after it:
        for the others ten of twelve products of D x D, each so many times, and their rows of
        attention, so many operations for each pair of tokens and each of D."""
        width = self.body.width
        return (tokens - read) * width * (20 * products * width + attention * tokens)

    @property
    def _patches(self) -> int:
        return (self.body.tokens - 1) * 2 * 3 * self.patch**2 * self.body.width


@dataclass(frozen=True)
class Clip:
    """A CLIP of two encoders, the image encoder given by its totals.

    image_passing  the image encoder's blocks, or for a ResNet what passes through it as if it were
                   one of blocks
    """

    dim: int
    image_operations: int
    image_parameters: int
    image_passing: Transformer
    text: Transformer
    vocabulary: int = VOCABULARY
    context: int = CONTEXT
    resnet: bool = False

    @property
    def image_blocks(self) -> Transformer | None:
        """The image encoder's blocks; None where it is a ResNet."""
        return None if self.resnet else self.image_passing

    @property
    def image_backward(self) -> int:
        """Operations of a gradient to modules beside the image encoder's MLPs, of one image; the
        first block needs none for itself."""
        body = self.image_blocks
        return 0 if body is None else body.backward(False) * (body.depth - 1) // body.depth

    @property
    def parameters(self) -> int:
        """Of both encoders."""
        width = self.text.width
        tokens = (self.vocabulary + self.context) * width
        return (
            self.image_parameters
            + self.text.block_parameters
            + tokens
            + 2 * width
            + width * self.dim
            + 1
        )

    def text_operations(self, tokens: int, gradient: bool) -> int:
        """Of one text of ``tokens`` tokens, the padding after it left out; with the gradient to
        its contexts, or only forward."""
        once = self.text.operations(tokens) + 2 * self.text.width * self.dim
        if not gradient:
            return once
        return once + self.text.backward(False, tokens) + 2 * self.text.width * self.dim


def _clip(
    width: int, depth: int, patch: int, size: int, dim: int, text_width: int, text_depth: int = 12
) -> Clip:
    tokens = (size // patch) ** 2 + 1
    body = Transformer(width, depth, tokens)
    patches = (tokens - 1) * 2 * 3 * patch**2 * width
    embedding = 3 * patch**2 * width + (tokens + 1) * width + 4 * width
    return Clip(
        dim=dim,
        image_operations=body.operations() + patches + 2 * width * dim,
        image_parameters=body.block_parameters + embedding + width * dim,
        image_passing=body,
        text=Transformer(text_width, text_depth, CONTEXT),
    )


#: by open_clip's name, with or without "-quickgelu"
CLIPS: dict[str, Clip] = {
    "ViT-B-32": _clip(768, 12, 32, 224, 512, 512),
    "ViT-B-16": _clip(768, 12, 16, 224, 512, 512),
    "ViT-L-14": _clip(1024, 24, 14, 224, 768, 768),
    "ViT-L-14-336": _clip(1024, 24, 14, 336, 768, 768),
    # A small ResNet; its operations and parameters are counted once, and again by a test.
    "tiny": Clip(
        dim=128,
        image_operations=9_520_128,
        image_parameters=359_324,
        image_passing=Transformer(8, 4, 32 * 32),
        text=Transformer(64, 2, 40),
        vocabulary=98,
        context=40,
        resnet=True,
    ),
}
#: width and depth by timm's word for the size
_SIZES = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24)}
_VIT_NAME = re.compile(r"vit_(tiny|small|base|large)_patch(\d+)_(\d+)$")
_TINY_VIT = ViT(Transformer(96, 4, 17), 16)


def vit_of(name: str) -> ViT:
    """The ViT that a configuration names, whatever its weights.

    Raises :class:`UnknownCostError` for an architecture that is not in the tables.
    """
    if name == "tiny":
        return _TINY_VIT
    architecture = name.partition("@")[0].partition("/")[0].partition(".")[0]
    found = _VIT_NAME.match(architecture)
    if found is None:
        raise UnknownCostError(
            f"The cost of a run with the ViT {name!r} is unknown: starprompt/budget/networks.py "
            "knows timm's vit_SIZE_patchP_PIXELS only; add it there."
        )
    size, patch, pixels = found.group(1), int(found.group(2)), int(found.group(3))
    width, depth = _SIZES[size]
    return ViT(Transformer(width, depth, (pixels // patch) ** 2 + 1), patch)


def clip_of(name: str) -> Clip:
    """The CLIP that a configuration names, whatever its weights.

    Raises :class:`UnknownCostError` for a model that is not in the tables.
    """
    model = name.partition("@")[0].partition("/")[0].removesuffix("-quickgelu")
    if model not in CLIPS:
        raise UnknownCostError(
            f"The cost of a run with the CLIP {name!r} is unknown: starprompt/budget/networks.py "
            f"knows {', '.join(CLIPS)}; add it there."
        )
    return CLIPS[model]
