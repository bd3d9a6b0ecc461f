"""Where the files of pretrained weights are: the weights folder, the hub's cache, or the hub.

Without a network the libraries retry for most of a minute and end in a traceback. Here one quick
question to the hub decides, and a missing file ends in one sentence.
"""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from starprompt.backbones.names import Source
from starprompt.errors import UserError
from starprompt.files import sha256_file

if TYPE_CHECKING:
    from torch import nn

#: formats a weights file may have; every one is read without running code from it
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")

_SECONDS_TO_ANSWER = 3.0


def weights_folder() -> Path:
    """The folder of local weights files: $STARPROMPT_WEIGHTS, or ./weights."""
    return Path(os.environ.get("STARPROMPT_WEIGHTS") or "weights").expanduser()


def expected_file(source: Source) -> Path:
    """Where in the weights folder the weights of ``source`` are looked for first."""
    return weights_folder() / f"{source.file_stem}{SUFFIXES[0]}"


def find_local(source: Source) -> Path | None:
    """The weights file of ``source`` on this machine, or None; no network is touched.

    Raises:
        UserError: the name itself names a file, and it is not there or of no known format.
    """
    if source.file is not None:
        return _named_file(source)
    for suffix in SUFFIXES:
        file = weights_folder() / f"{source.file_stem}{suffix}"
        if file.is_file():
            return file
    return _in_hub_cache(source)


def resolve(source: Source) -> Path:
    """The weights file of ``source``, fetched from the Hugging Face hub where it must be.

    Raises:
        UserError: it is neither here nor to be had; the sentence names the file and its place.
    """
    return find_local(source) or fetch(source)


def fetch(source: Source) -> Path:
    """Download the weights of ``source`` into the hub's cache (or find them there).

    Raises:
        UserError: the hub does not answer within seconds, refuses, or has no such file.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if source.hub_id is None:
        raise _missing(source, "no repository on the Hugging Face hub is known for them")
    reason = _why_unreachable()
    if reason is not None:
        raise _missing(source, reason)
    for filename in source.hub_files:
        try:
            return Path(hf_hub_download(source.hub_id, filename))
        except EntryNotFoundError:
            continue
        except Exception as error:  # whatever a network, a proxy or a login may do
            raise _missing(source, f"the download failed: {_first_line(error)}") from error
    raise _missing(source, "its repository on the hub has no such file")


def digest(file: Path | None, model: "nn.Module") -> str:
    """Hex SHA-256 of the weights file or, without one, of the model's state dict."""
    return sha256_file(file) if file is not None else state_digest(model)


def state_digest(model: "nn.Module") -> str:
    """Hex SHA-256 over names, dtypes, shapes and bytes of a state dict, in the names' order."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().data)
    return total.hexdigest()


def _named_file(source: Source) -> Path:
    file = source.file
    assert file is not None
    if not file.is_file():
        raise UserError(
            f"The weights file {file} is not there; put it there or mend the name {source.name!r}."
        )
    if file.suffix not in SUFFIXES:
        raise UserError(
            f"The weights file {file} has none of the known endings {', '.join(SUFFIXES)}; "
            "convert it to safetensors."
        )
    return file


def _in_hub_cache(source: Source) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    if source.hub_id is None:
        return None
    for filename in source.hub_files:
        found = try_to_load_from_cache(source.hub_id, filename)
        if isinstance(found, str):
            return Path(found)
    return None


def _why_unreachable() -> str | None:
    """Ask the hub for anything at all, once and for seconds; None if it answers."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS_TO_ANSWER)
    except Exception as error:  # requests and httpx share no base class
        return f"the hub at {constants.ENDPOINT} does not answer ({_first_line(error)})"
    return None


def _missing(source: Source, reason: str) -> UserError:
    origin = (
        f" ({source.hub_files[0]} of https://huggingface.co/{source.hub_id})"
        if source.hub_id
        else ""
    )
    return UserError(
        f"The weights of {source.name} are not here and {reason}: put the file{origin} at "
        f"{expected_file(source).absolute()}, or set STARPROMPT_WEIGHTS to the folder that has it."
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0].rstrip(".") if text else type(error).__name__
