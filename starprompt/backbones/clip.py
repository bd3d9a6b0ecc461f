"""Frozen CLIP: image features, text features, and the text encoder of learned prompts."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import text_global_pool
from torch import Tensor, nn

from starprompt.backbones import checkpoints, weights
from starprompt.backbones.activations import Activations, clip_activations
from starprompt.backbones.compiled import FirstSize, compile_blocks
from starprompt.backbones.folded import prepare_resnet
from starprompt.backbones.names import parse_clip
from starprompt.backbones.preprocess import CLIP_STATISTICS, ChannelStatistics, fit_view
from starprompt.errors import UserError
from starprompt.precision import in_tower, require_precision

#: tokens of texts to token ids, (n, context_length) int64: open_clip's tokenizer interface
Tokenizer = Callable[..., Tensor]

_TEXTS_AT_A_TIME = 256


@dataclass(frozen=True)
class PromptTokens:
    """Embedded texts, cut after the longest end-of-text token among them.

    embeddings (n, T, width) float32; position 0 is start-of-text, position 1 the placeholder
    eot        (n,)          int64: where each text ends
    """

    embeddings: Tensor
    eot: Tensor

    def __len__(self) -> int:
        return len(self.eot)

    def select(self, classes: slice | Tensor) -> "PromptTokens":
        """The texts of some classes, cut again after the longest among these."""
        eot = self.eot[classes]
        return PromptTokens(self.embeddings[classes][:, : int(eot.max()) + 1], eot)

    def with_context(self, context: Tensor) -> Tensor:
        """(n, T, width) embeddings in which ``context`` (n, width) replaces the placeholder.

        Differentiable with respect to ``context``.
        """
        return torch.cat(
            (self.embeddings[:, :1], context.unsqueeze(1), self.embeddings[:, 2:]), dim=1
        )


class FrozenClip(nn.Module):
    """An open_clip CLIP whose parameters never learn and that stays in evaluation mode.

    Args:
        model: ``open_clip.CLIP`` with a causal text encoder.
        tokenizer: texts to token ids; None where only token ids are used.
        name: what records call it.
        weights_file: the file the weights are from; its SHA-256 is the digest. Without one the
            digest is taken over the state dict.
        statistics: channel statistics of the images it was trained on.
        squash: resize both sides of a view instead of resizing the shorter and cropping.
        precision: of the image encoder's products (``starprompt.precision``); the text encoder,
            whose few tokens cost nothing and whose keys decide everything, stays float32.

    Raises:
        UserError: the model's text encoder is of another kind, or the precision is unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer | None = None,
        *,
        name: str = "custom",
        weights_file: Path | None = None,
        statistics: ChannelStatistics = CLIP_STATISTICS,
        squash: bool = False,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        _refuse_other_architectures(model, name)
        self.model: Any = model.float().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.statistics = statistics
        self.squash = squash
        self.precision = require_precision(precision)
        #: τ, already exponentiated; a number, so that no step waits for the device to tell it
        self.logit_scale = torch.as_tensor(self.model.logit_scale).exp().item()
        #: set where the image encoder's blocks run compiled
        self.first_size: FirstSize | None = None
        self._weights_file = weights_file
        self._digest: str | None = None
        self.eval()
        if isinstance(self.model.visual, ModifiedResNet):
            if weights_file is None:
                self._digest = weights.state_digest(self.model)  # of the weights as they came
            prepare_resnet(self.model.visual)

    def train(self, mode: bool = True) -> "FrozenClip":
        """Stay in evaluation mode, also when a parent module is set to training."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.model.logit_scale.device

    @property
    def dim(self) -> int:
        """d, the width of the space that images and texts share."""
        projection = self.model.text_projection
        return projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1]

    @property
    def text_width(self) -> int:
        """Width of the text encoder, hence of a learned context vector."""
        return self.model.token_embedding.embedding_dim

    @property
    def context_length(self) -> int:
        """The most tokens a text may have."""
        return self.model.context_length

    @property
    def image_size(self) -> int:
        """Side of the square images the vision tower reads, in pixels."""
        size = self.model.visual.image_size
        return size if isinstance(size, int) else size[0]

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the weights (file, else state dict); computed once, when asked for."""
        if self._digest is None:
            self._digest = weights.digest(self._weights_file, self.model)
        return self._digest

    def activations(self) -> Activations:
        """What an image takes in the image encoder, which keeps nothing."""
        return clip_activations(self.model.visual, self.image_size, self.precision)

    def compile_image_tower(self) -> None:
        """Let the image encoder's blocks, if it is a transformer, run compiled code."""
        transformer = getattr(self.model.visual, "transformer", None)
        if transformer is not None:
            self.first_size = FirstSize()
            compile_blocks(transformer.resblocks)

    # --- images

    def normalise(self, view: Tensor) -> Tensor:
        """A (B,3,H,W) view in [0, 1], fitted to ``image_size`` and to CLIP's statistics."""
        return self.statistics(fit_view(view, self.image_size, squash=self.squash))

    def encode_images(self, view: Tensor) -> Tensor:
        """(B, d) float32 features, not normalised, of un-normalised (B,3,H,W) views in [0, 1]."""
        return self.encode_normalised(self.normalise(view))

    def encode_normalised(self, images: Tensor) -> Tensor:
        """(B, d) float32 features, not normalised, of images already fitted and normalised.

        The result is an ordinary tensor: a learned query weight may be multiplied with it.
        """
        of_size = self.first_size(len(images)) if self.first_size else nullcontext()
        with torch.inference_mode(), in_tower(self.precision, self.device), of_size:
            features = self.model.encode_image(images)
        return features.float().clone()

    # --- texts

    def tokenize(self, texts: list[str]) -> Tensor:
        """(n, context_length) int64 token ids, on this CLIP's device.

        Raises:
            UserError: there is no tokenizer, or a text does not fit (cutting it would lose its
                end-of-text token's place and part of the class name).
        """
        if self.tokenizer is None:
            raise UserError(f"{self.name} was made without a tokenizer; give it token ids.")
        if not texts:
            return torch.empty(0, self.context_length, dtype=torch.long, device=self.device)
        # One token more than fits: open_clip's tokenizers cut silently.
        tokens = self.tokenizer(texts, context_length=self.context_length + 1)
        refuse_long_texts(self.name, texts, self._ends(tokens).tolist(), self.context_length)
        return tokens[:, : self.context_length].to(self.device)

    def embed_tokens(self, token_ids: Tensor) -> PromptTokens:
        """Embeddings of (n, L) token ids, cut after the longest end-of-text token.

        The cut is exact: attention is causal, so nothing behind that token reaches it.
        """
        token_ids = token_ids.to(self.device)
        eot = self._ends(token_ids)
        with torch.no_grad():
            embeddings = self.model.token_embedding(token_ids[:, : int(eot.max()) + 1])
        return PromptTokens(embeddings, eot)

    def prompt_tokens(self, class_names: list[str]) -> PromptTokens:
        """Embedded texts "X <class name>."; a learned context takes the place of X (position 1)."""
        return self.embed_tokens(self.tokenize([f"X {name}." for name in class_names]))

    def encode_prompts(self, embeddings: Tensor, eot: Tensor) -> Tensor:
        """(n, d) text features, not normalised, of (n, T, width) embeddings that end at ``eot``.

        Differentiable with respect to ``embeddings``. T may be anything from max(eot) + 1 to the
        context length, with the same result.
        """
        length = embeddings.shape[1]
        x = embeddings + self.model.positional_embedding[:length]
        x = self.model.transformer(x, attn_mask=self.model.attn_mask[:length, :length])
        # Layer norm looks at one token at a time: only the one that is pooled needs it.
        x = self.model.ln_final(x[torch.arange(len(x), device=x.device), eot])
        projection = self.model.text_projection
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection

    @torch.no_grad()
    def encode_texts(self, texts: list[str]) -> Tensor:
        """(n, d) float32 text features, not normalised."""
        token_ids = self.tokenize(texts)
        parts = [self.embed_tokens(part) for part in token_ids.split(_TEXTS_AT_A_TIME) if len(part)]
        features = [self.encode_prompts(part.embeddings, part.eot) for part in parts]
        return torch.cat([*features, torch.empty(0, self.dim, device=self.device)])

    def _ends(self, token_ids: Tensor) -> Tensor:
        """(n,) int64: position of each text's end-of-text token, found as open_clip finds it."""
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        return text_global_pool(
            positions.expand(len(token_ids), -1),
            token_ids,
            self.model.text_pool_type,
            eos_token_id=self.model.text_eos_id,
        )


def _refuse_other_architectures(model: nn.Module, name: str) -> None:
    if (
        not isinstance(model, open_clip.CLIP)
        or model.attn_mask is None
        or model.text_pool_type not in ("argmax", "eos")
        or model.text_projection is None
    ):
        raise UserError(
            f"{name} has no text encoder of CLIP's own kind (causal, read at its end-of-text "
            "token), which learned prompts need; choose a CLIP such as 'ViT-L-14-quickgelu/openai'."
        )


def refuse_long_texts(name: str, texts: Sequence[str], ends: Sequence[int], length: int) -> None:
    """Raise :class:`UserError` for a text whose end-of-text token is beyond CLIP's ``length``."""
    for text, end in zip(texts, ends, strict=True):
        if end >= length:
            raise UserError(
                f"The text {text!r} is longer than the {length} tokens that {name} reads; shorten "
                "the class name or the template."
            )


def load_clip(
    name: str,
    device: torch.device | str = "cpu",
    *,
    precision: str = "float32",
    compile: bool = False,
) -> FrozenClip:
    """A frozen CLIP by its name, float32, on ``device``; ``compile`` compiles its image blocks.

    Names: ``tiny`` (comes with the package); ``MODEL/TAG`` of open_clip, as in
    ``ViT-L-14-quickgelu/openai``; ``MODEL@FILE`` or ``MODEL/TAG@FILE`` for weights in a local
    file; ``MODEL/random`` for random weights, equal at every call (they cost what trained ones
    do and know nothing).

    Raises:
        UserError: an unknown name, a model without a usable text encoder, weights that are not
            there, cannot be read or belong to another model.
    """
    if name == "tiny":
        return _load_tiny(precision).to(device)
    source = parse_clip(name)
    file = None if source.random else weights.resolve(source)
    model = checkpoints.build_clip(source)
    if file is not None:
        checkpoints.load_clip_file(model, source, file)
    frozen = FrozenClip(
        model,
        open_clip.get_tokenizer(source.model),
        name=name,
        weights_file=file,
        statistics=ChannelStatistics(*source.statistics) if source.statistics else CLIP_STATISTICS,
        squash=source.squash,
        precision=precision,
    )
    if compile:
        frozen.compile_image_tower()
    return frozen.to(device)


def _load_tiny(precision: str) -> FrozenClip:
    from starprompt.backbones.tiny import models

    return FrozenClip(
        models.load_tiny_clip(),
        models.tiny_tokenizer(),
        name="tiny",
        weights_file=models.WEIGHTS["clip"],
        statistics=ChannelStatistics(*models.NORMALISATION["clip"]),
        precision=precision,
    )
