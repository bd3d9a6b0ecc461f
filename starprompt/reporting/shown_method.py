"""Every value of a method as it resolves, and where each is from: ``starprompt show METHOD``."""

import json
import textwrap
from pathlib import Path
from typing import Any

from starprompt.config.methods import check_hyperparameters, learner_class, lineage, load_method
from starprompt.errors import unknown_name

WIDTH = 80


def resolved(name: str, dataset: str | None = None) -> dict[str, Any]:
    """What a method is, and each of its values with where it stands and where it is from.

    ``values`` has by hyperparameter: ``value``; ``from``, which is "class default" or the file, the
    entry in it and the data set; ``source``, the text under ``sources`` for it, or "".
    Raises :class:`UserError` for an unknown method and for values that the learner refuses.
    """
    spec = load_method(name)
    values = {
        key: {"value": field.get_default(call_default_factory=True), "from": "class default"}
        for key, field in learner_class(spec).Hyperparameters.model_fields.items()
    }
    sources: dict[str, dict[str, str]] = {"class default": spec.sources}
    for depth, one in enumerate(lineage(name)):
        # A variant's own values are not from where its parent's are.
        texts = one.own.get("sources", {}) if depth else spec.sources
        own = [(one.own.get("hyperparameters", {}), one.where)]
        if dataset is not None:
            of_dataset = one.own.get("datasets", {}).get(dataset, {})
            own.append((of_dataset, f"{one.where}: datasets.{dataset}"))
        for given, where in own:
            values |= {key: {"value": value, "from": where} for key, value in given.items()}
            sources[where] = texts
    for key, value in check_hyperparameters(spec, dataset or "").model_dump(mode="json").items():
        values[key]["value"] = value
        where = values[key]["from"]
        values[key]["source"] = _source(sources[where], key, dataset, where)
    return {
        "method": name,
        "dataset": dataset,
        "title": spec.title,
        "description": spec.description,
        "learner": spec.learner,
        "varies": [one.name for one in lineage(name)][:-1],
        "stream": spec.stream,
        "keys": spec.keys,
        "values": values,
    }


def _source(sources: dict[str, str], key: str, dataset: str | None, where: str) -> str:
    """The most particular text that ``sources`` has for a value."""
    if where == "class default":
        return sources.get(key, "")
    of_dataset = dataset is not None and where.endswith(f": datasets.{dataset}")
    wanted = ([str(dataset)] if of_dataset else []) + [key, "all"]
    return next((sources[name] for name in wanted if name in sources), "")


def as_json(found: dict[str, Any]) -> str:
    """For machines."""
    return json.dumps(found, indent=1, ensure_ascii=False)


def as_text(found: dict[str, Any]) -> str:
    """For reading, at 80 columns: values aligned, sources as numbered notes."""
    head = f"{found['title']} ({found['method']}), {found['learner']}"
    lines = [*_wrapped(head), *_wrapped(found["description"])]
    if found["varies"]:
        lines += _wrapped(f"A variant of {found['varies'][-1]}.")
    if found["stream"] == "joint":
        lines.append("Learns all tasks at once.")
    if found["keys"]:
        lines += _wrapped(f"Its keys are those of {found['keys']}.")
    on = found["dataset"] or "data sets without values of their own"
    lines += ["", *_wrapped(f"Values on {on}:"), ""]
    notes: dict[str, int] = {}
    origins: dict[str, int] = {}
    rows = []
    for key, entry in found["values"].items():
        note = ""
        if entry["source"]:
            note = f"[{notes.setdefault(entry['source'], len(notes) + 1)}]"
        origins.setdefault(entry["from"], len(origins))
        rows.append((key, json.dumps(entry["value"]), _short_origin(entry["from"]), note))
    if not rows:
        return "\n".join([*lines, "none"])
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for key, value, origin, note in rows:
        line = f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin:<{widths[2]}}  {note}".rstrip()
        lines += (
            textwrap.wrap(line, WIDTH, subsequent_indent="    ") if len(line) > WIDTH else [line]
        )
    lines.append("")
    for origin in origins:
        if origin != "class default":
            lines += _wrapped(f"{_short_origin(origin)}: {origin}")
    for text, number in notes.items():
        lines += _wrapped(f"[{number}] {text}")
    return "\n".join(lines)


def _short_origin(where: str) -> str:
    """ "starprompt", "starprompt-m2", or with the data set: what stands in the table."""
    if where == "class default":
        return where
    file, *entries = where.split(": ")
    name = Path(file).stem
    for entry in entries:
        kind, _, rest = entry.partition(".")
        name = f"{rest}" if kind == "variants" else f"{name}/{rest or kind}"
    return name


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ")


def check_dataset(dataset: str, known: list[str]) -> None:
    """Refuse a data set that no file describes."""
    if dataset not in known:
        raise unknown_name("data set", dataset, known)
