"""The methods' page and the bibliography, made from the YAML files of methods and data sets.

What a method is, whom to cite and where its numbers are from stands once, beside the numbers; the
docs, the tables' footnotes and the bibliography are made from there.
"""

import re
from pathlib import Path
from typing import Any

from starprompt.config.methods import (
    MethodSpec,
    learner_class,
    lineage,
    list_methods,
    load_method,
)
from starprompt.config.tuned import SUFFIX, kept_search
from starprompt.data.registry import list_datasets, load_dataset_spec
from starprompt.errors import UserError
from starprompt.files import write_text

DOCS = Path("docs")
#: the groups in the page's order
GROUPS = {
    "starprompt": "STAR-Prompt",
    "prompt": "Prompts in a frozen ViT",
    "clip": "On CLIP alone",
    "tuning": "Training the ViT or its head",
    "feature": "On frozen features",
    "bound": "Bounds",
    "ablation": "Variants of STAR-Prompt",
}
_ENTRY = re.compile(r"@\w+\s*\{\s*([^,\s]+)\s*,")


def write_method_pages(folder: Path = DOCS) -> list[Path]:
    """Write ``methods.md`` and ``references.bib`` under ``folder``; return their paths."""
    pages = {"methods.md": methods_page(), "references.bib": bibliography()}
    for name, text in pages.items():
        write_text(folder / name, text)
    return [folder / name for name in pages]


def citation_keys(bibtex: str) -> list[str]:
    """The keys of all entries in a BibTeX text."""
    return _ENTRY.findall(bibtex)


def bibliography() -> str:
    """Every entry that a method or a data set cites, once, by key.

    Raises :class:`UserError` when two files give one key to different entries.
    """
    datasets = [load_dataset_spec(name) for name in list_datasets()]
    texts = [load_method(name).citation for name in list_methods()]
    texts += [spec.citation for spec in datasets]
    entries: dict[str, str] = {}
    for text in texts:
        for entry in re.split(r"(?=^@)", text.strip(), flags=re.MULTILINE):
            for key in citation_keys(entry)[:1]:
                if _squeezed(entries.setdefault(key, entry.strip())) != _squeezed(entry):
                    raise UserError(f"Two files cite {key} differently; make them agree.")
    head = "% Made by `starprompt docs` from config/methods and config/datasets; edit those.\n\n"
    return head + "\n\n".join(entries[key] for key in sorted(entries)) + "\n"


def _squeezed(entry: str) -> str:
    return re.sub(r"\s+", " ", entry).strip()


def methods_page() -> str:
    """Every method: what it is, whom to cite, its hyperparameters and their sources."""
    specs = [load_method(name) for name in list_methods()]
    parts = [
        "# The methods\n\nMade by `starprompt docs` from `config/methods/`; edit those files. "
        "A key in brackets is an entry of [references.bib](references.bib). How to add a method: "
        "[add-a-method.md](add-a-method.md)."
    ]
    for group, heading in GROUPS.items():
        own = [spec for spec in specs if spec.group == group]
        if own:
            parts.append(f"## {heading}")
            parts += [_variant(s) if _parent(s) else _section(s) for s in sorted(own, key=_order)]
    return "\n\n".join(parts) + "\n"


def _order(spec: MethodSpec) -> tuple[bool, str]:
    return _parent(spec) is not None, spec.name


def _parent(spec: MethodSpec) -> str | None:
    return lineage(spec.name)[-1].parent


def _cited(bibtex: str) -> str:
    return " ".join(f"[{key}]" for key in citation_keys(bibtex))


def _facts(spec: MethodSpec) -> str:
    names = {"vit": "the ViT", "clip": "CLIP"}
    facts = [f"Uses {' and '.join(names[part] for part in spec.uses)}."]
    if spec.keys:
        facts.append(f"Its keys are those of `{spec.keys}`.")
    if spec.rehearsal:
        facts.append("Keeps images of past tasks.")
    if spec.stream == "joint":
        facts.append("Learns all tasks at once.")
    return " ".join(facts)


def _variant(spec: MethodSpec) -> str:
    """One paragraph: what differs from the method that it extends."""
    own = lineage(spec.name)[-1]
    changed = own.own.get("hyperparameters", {})
    differs = ", ".join(f"`{name}: {shown_value(value)}`" for name, value in changed.items())
    text = f"**{spec.title}** (`{spec.name}`), as `{own.parent}`"
    text += f" with {differs}." if differs else "."
    return f"{text} {spec.description} {_facts(spec)}"


def _section(spec: MethodSpec) -> str:
    module = spec.learner.partition(":")[0].replace(".", "/")
    lines = [
        f"### {spec.title}",
        f"`{spec.name}`, in `{module}.py`. {spec.description} {_cited(spec.citation)}".rstrip(),
        _facts(spec),
    ]
    table = _hyperparameters(spec)
    if table:
        lines.append(table)
    general = {k: v for k, v in spec.sources.items() if k not in spec.hyperparameters}
    lines += [f"Source ({name}): {text}" for name, text in general.items()]
    lines += [line for dataset in sorted(spec.datasets) if (line := _search(spec, dataset))]
    return "\n\n".join(lines)


def _search(spec: MethodSpec, dataset: str) -> str | None:
    """What a kept search tried and found."""
    if (found := kept_search(dataset, spec.name)) is None:
        return None
    where = "; ".join(f"`{name}` {shown_range(limits)}" for name, limits in found.ranges.items())
    best = ", ".join(f"`{name}` {shown_value(value)}" for name, value in found.best.items())
    own = "diverged" if found.own_accuracy is None else f"{found.own_accuracy:.1f}%"
    return (
        f"Search ({dataset}): {where}; {found.budget} trials on the first {found.tasks} tasks, "
        f"judged on {100 * found.validation:g}% of their training images. With the values above: "
        f"{own}; best: {found.best_accuracy:.1f}% with {best} (`{spec.name}{SUFFIX}`)."
    )


def shown_range(limits: dict[str, Any]) -> str:
    """Where a search looked for one hyperparameter, in words."""
    if "choices" in limits:
        return f"of {shown_value(limits['choices'])}"
    return f"{shown_value(limits['low'])} to {shown_value(limits['high'])}"


def _hyperparameters(spec: MethodSpec) -> str:
    """A table of them: value, values on single data sets, meaning, source."""
    fields: dict[str, Any] = learner_class(spec).Hyperparameters.model_fields
    rows = []
    for name, field in fields.items():
        value = spec.hyperparameters.get(name, field.get_default(call_default_factory=True))
        elsewhere = ", ".join(
            f"{dataset} {shown_value(values[name])}"
            for dataset, values in spec.datasets.items()
            if name in values
        )
        meaning = field.description or ""
        cells = (f"`{name}`", shown_value(value), elsewhere, meaning, spec.sources.get(name, ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if not rows:
        return ""
    head = [
        "| hyperparameter | value | on single data sets | meaning | source |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def shown_value(value: Any) -> str:
    """A hyperparameter's value for reading."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown_value, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
