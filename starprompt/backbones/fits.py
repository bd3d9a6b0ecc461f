"""Whether a run could use its backbones, found without weights: what `starprompt check` asks.

Architectures are built on torch's meta device, which allocates nothing.
"""

from collections.abc import Sequence

import torch

from starprompt.backbones import checkpoints, weights
from starprompt.backbones.clip import Tokenizer, refuse_long_texts
from starprompt.backbones.names import PAPER_PAIR, Source, parse_clip, parse_vit
from starprompt.backbones.vit import refuse_other_size, refuse_unless_plain
from starprompt.errors import UserError


def check_vit(name: str, image_size: int) -> list[str]:
    """Refuse a ViT that cannot be prompted or built for views of this size; else what to know.

    Raises :class:`UserError` as ``load_vit``, but for weights that the hub would be asked for.
    """
    if name == "tiny":
        refuse_other_size(name, image_size)
        return []
    source = parse_vit(name)
    with torch.device("meta"):
        refuse_unless_plain(checkpoints.build_vit(source, 0, image_size), name)
    notes = []
    if not source.random and source.file is None and "." not in source.model:
        notes.append(f"vit: {name} means {source.file_stem}{_paper_note(source)}")
    if (own := source.image_size) not in (None, image_size):
        notes.append(
            f"vit: {name} was trained on {own} pixels; its position embeddings are resampled for "
            f"views of {image_size}"
        )
    return notes + _where(source)


def check_clip(name: str, texts: Sequence[str] = ()) -> list[str]:
    """Refuse a CLIP whose text encoder cannot be prompted or that cannot read one of the texts.

    Raises :class:`UserError` as ``load_clip``, but for weights that the hub would be asked for.
    """
    if name == "tiny":
        from starprompt.backbones.tiny.models import tiny_tokenizer

        own = tiny_tokenizer()
        _refuse_long(name, own, own.context_length, texts)
        return []
    import open_clip

    source = parse_clip(name)
    config = open_clip.get_model_config(source.model)
    length = int(config["text_cfg"].get("context_length", 77))
    _refuse_long(name, open_clip.get_tokenizer(source.model), length, texts)
    return _where(source)


def _refuse_long(name: str, tokenizer: Tokenizer, length: int, texts: Sequence[str]) -> None:
    if texts:
        tokens = tokenizer(list(texts), context_length=length + 1)
        # the end-of-text token has the largest id in CLIP's own vocabulary
        refuse_long_texts(name, texts, tokens.argmax(dim=-1).tolist(), length)


def _paper_note(source: Source) -> str:
    paper = PAPER_PAIR[1]
    same = paper.partition(".")[0] == source.model and paper != source.file_stem
    return f"; the paper's weights are {paper}" if same else ""


def _where(source: Source) -> list[str]:
    """Whether the weights are on this machine. Raises :class:`UserError` for a named file that is
    missing, and for weights that no hub has."""
    if source.random or weights.find_local(source) is not None:
        return []
    if source.hub_id is None:
        raise UserError(
            f"The weights of {source.name} are not here, and no repository on the Hugging Face hub "
            f"is known for them; put the file at {weights.expected_file(source).absolute()}."
        )
    return [
        f"{source.kind}: the weights of {source.name} are not here; a run fetches them from "
        f"https://huggingface.co/{source.hub_id}, or put them at {weights.expected_file(source)}"
    ]
