"""What a backbone's name means: which architecture, and where its weights come from.

tiny                         the pair that comes with the package
MODEL/TAG                    open_clip's model and weights tag: ViT-L-14-quickgelu/openai
NAME, NAME.TAG               timm's name: vit_base_patch16_224.augreg_in21k
...@FILE                     the same architecture with the weights in a local file
MODEL/random, NAME/random    random weights, equal at every call
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from starprompt.errors import UserError, unknown_name

Kind = Literal["clip", "vit"]
#: modules of timm that hold its plain VisionTransformer (some models of theirs are refused later)
VIT_MODULES = ("vision_transformer", "deit")
Channels = tuple[float, float, float]

#: the frozen pair of the paper's grid
PAPER_PAIR = ("ViT-L-14-quickgelu/openai", "vit_base_patch16_224.augreg_in21k")


@dataclass(frozen=True)
class Source:
    """A backbone's name, taken apart.

    kind         "clip" (open_clip) or "vit" (timm)
    model        the architecture, under its library's name
    file_stem    what its weights file is called in the weights folder, without the suffix
    file         a local file named in the name itself
    random       random weights are meant
    hub_id       repository on the Hugging Face hub; None where there is none
    hub_files    files to look for in that repository, the preferred first
    statistics   channel (mean, std) of the images these weights were trained on; None: unknown
    squash       whether they were trained on images with both sides resized
    image_size   side of the images that a ViT's weights were trained on; None: unknown
    quick_gelu   whether these weights need QuickGELU, where the name tells; None: unknown
    """

    name: str
    kind: Kind
    model: str
    file_stem: str
    file: Path | None = None
    random: bool = False
    hub_id: str | None = None
    hub_files: tuple[str, ...] = ()
    statistics: tuple[Channels, Channels] | None = None
    squash: bool = False
    quick_gelu: bool | None = None
    image_size: int | None = None


def parse(name: str) -> Source:
    """Either kind of name: what open_clip knows is a CLIP, everything else a ViT.

    Raises:
        UserError: as :func:`parse_clip` and :func:`parse_vit`; ``tiny`` has no source.
    """
    import open_clip

    model = _split(name)[0].partition("/")[0]
    return parse_clip(name) if model in open_clip.list_models() else parse_vit(name)


def parse_clip(name: str) -> Source:
    """``MODEL/TAG``, ``MODEL/random``, ``MODEL@FILE`` or ``MODEL/TAG@FILE`` of open_clip.

    Raises:
        UserError: unknown model or tag (with the near names), no weights named, or a model whose
            text encoder is not CLIP's own.
    """
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    rest, file = _split(name)
    model, _, tag = rest.partition("/")
    if model not in open_clip.list_models():
        raise unknown_name("CLIP", model, ["tiny", *usable_clips()])
    if model not in usable_clips():
        raise UserError(
            f"The text encoder of {model!r} is not CLIP's own causal one, which learned prompts "
            "need; choose a model such as 'ViT-L-14-quickgelu/openai'."
        )
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tag and file is None:
        raise UserError(
            f"The name {name!r} names no weights: write {model}/TAG with one of "
            f"{', '.join(tags) or 'no known tags'}, {model}/random, or {model}@FILE."
        )
    if tag == "random" or not tag:
        return Source(name, "clip", model, model, file=file, random=bool(tag))
    if tag not in tags:
        raise unknown_name(f"weights tag of {model}", tag, [*tags, "random"])
    config = get_pretrained_cfg(model, tag)
    hub_id, _, hub_file = config.get("hf_hub", "").rpartition("/")
    statistics = (_channels(config["mean"]), _channels(config["std"])) if "mean" in config else None
    return Source(
        name,
        "clip",
        model,
        f"{model}.{tag}",
        file=file,
        hub_id=hub_id or None,
        hub_files=_with_safe_form(hub_file)
        if hub_file
        else ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
        statistics=statistics,
        squash=config.get("resize_mode") == "squash",
        quick_gelu=bool(config.get("quick_gelu")),
    )


def parse_vit(name: str) -> Source:
    """``NAME``, ``NAME.TAG``, ``NAME/random`` or ``NAME@FILE`` of timm.

    A name without a tag means timm's default one.

    Raises:
        UserError: unknown name or tag (with the near names), or an architecture of timm that is
            not its plain VisionTransformer.
    """
    import timm

    rest, file = _split(name)
    model, _, suffix = rest.partition("/")
    if suffix not in ("", "random"):
        raise unknown_name("ViT", rest, ["tiny", *_vits()])
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        raise unknown_name("ViT", model, ["tiny", *_vits()])
    if not any(architecture in timm.list_models(module=module) for module in VIT_MODULES):
        raise UserError(
            f"{architecture!r} is not a plain VisionTransformer of timm, which prompts need; "
            "choose one such as 'vit_base_patch16_224.augreg_in21k'."
        )
    if tag and model not in _vits():
        raise unknown_name("ViT", model, _vits())
    config = timm.models.get_pretrained_cfg(model)
    if config is None or not (config.hf_hub_id or file or suffix):
        raise UserError(
            f"timm lists no published weights for {model!r}; write {model}/random, "
            f"{model}@FILE, or another name."
        )
    return Source(
        name,
        "vit",
        model,
        ".".join(part for part in (architecture, config.tag) if part),
        file=file,
        random=bool(suffix),
        hub_id=config.hf_hub_id,
        hub_files=_with_safe_form(config.hf_hub_filename or "pytorch_model.bin"),
        statistics=(_channels(config.mean), _channels(config.std)),
        image_size=int(config.input_size[-1]),
    )


def usable_clips() -> list[str]:
    """Models of open_clip whose text encoder is CLIP's own, by their configuration."""
    import open_clip

    return [name for name in open_clip.list_models() if _has_clips_text_tower(name)]


def _has_clips_text_tower(model: str) -> bool:
    import open_clip

    config = open_clip.get_model_config(model)
    text = config["text_cfg"]
    foreign = ("hf_model_name", "hf_tokenizer_name", "no_causal_mask", "embed_cls")
    return (
        not config.get("custom_text")
        and "multimodal_cfg" not in config
        and not any(text.get(key) for key in foreign)
    )


def _vits() -> list[str]:
    import timm

    return [
        name for module in VIT_MODULES for name in timm.list_models(module=module, pretrained=True)
    ]


def _channels(values: Sequence[float]) -> Channels:
    red, green, blue = values
    return red, green, blue


def _with_safe_form(filename: str) -> tuple[str, ...]:
    """Its safetensors form, if it has one by the hub's custom, then the file itself."""
    if filename == "pytorch_model.bin":
        return ("model.safetensors", filename)
    path = Path(filename)
    safe = str(path.with_suffix(".safetensors"))
    return (filename,) if safe == filename else (safe, filename)


def _split(name: str) -> tuple[str, Path | None]:
    rest, at, file = name.partition("@")
    if at and not file:
        raise UserError(f"The name {name!r} ends in '@' where a weights file should follow.")
    if at and rest.endswith("/random"):
        raise UserError(f"The name {name!r} asks for random weights and for a file; choose one.")
    return rest, Path(file).expanduser() if at else None
