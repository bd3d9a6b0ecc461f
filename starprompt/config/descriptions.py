"""What the files under ``config/methods`` say, before it is checked: methods and their variants.

A file describes one method. Beside it, under ``variants``, stand its variants by name, each with
what differs; an entry with a ``sweep`` stands for one variant per value:

    variants:
      starprompt-m{m}:
        sweep: {m: [1, 2, 3, 5, 10, 20]}
        title: M = {m}
        hyperparameters: {components: "{m}"}
        keys: {hyperparameters: {components: "{m}"}}

A method of which a search is kept (``config/tuning``) has a further variant, METHOD-searched, with
the values that it found; no list of methods has it. ``keys`` as a mapping says how the method that
makes the keys differs; that method is derived. A user's file may vary a method too: it names it
under ``extends``.
"""

import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from starprompt.config.tuned import SUFFIX, kept_search, kept_searches
from starprompt.errors import UserError, unknown_name
from starprompt.files import parse_yaml, read_text, require_name
from starprompt.shipped.find import overlay

#: Keys of a description that are merged with the parent's key by key.
MERGED = ("hyperparameters", "sources", "search", "cost")
#: Most variants that one sweep may stand for.
MOST_SWEPT = 100
#: What a variant says of itself; two methods that differ in nothing else are one.
_LABELS = ("title", "description", "group", "ablates")


@dataclass(frozen=True)
class Description:
    """A method as its file, or its entry under ``variants``, has it.

    parent  the method that it varies; None for one that stands for itself
    own     what it says itself, without ``extends``, ``variants`` and ``sweep``
    where   file and entry, for messages
    """

    name: str
    parent: str | None
    own: dict[str, Any]
    where: str
    is_file: bool


@dataclass(frozen=True)
class Catalogue:
    """All descriptions by name, and by name what is wrong with those that cannot be read."""

    methods: dict[str, Description]
    broken: dict[str, UserError]

    def lineage(self, name: str) -> list[Description]:
        """The method and those that it varies, the one that stands for itself first.

        Raises :class:`UserError` for an unknown name, a broken description and a circle.
        """
        found: list[Description] = []
        wanted: str | None = name
        while wanted is not None:
            if wanted in (one.name for one in found):
                circle = " extends ".join([*(one.name for one in found), wanted])
                raise UserError(
                    f"{found[0].where}: {circle} is circular; remove one of these references."
                )
            if wanted in self.broken:
                raise self.broken[wanted]
            if wanted not in self.methods and (one := self._searched(wanted)) is not None:
                found.append(one)
                wanted = one.parent
                continue
            if wanted not in self.methods:
                if self.broken:  # the name may be a variant in a file that cannot be read
                    raise next(iter(self.broken.values()))
                where = f" (under `extends` in {found[-1].where})" if found else ""
                raise unknown_name(f"method{where}", wanted, self.methods)
            found.append(self.methods[wanted])
            wanted = found[-1].parent
        return found[::-1]

    def _searched(self, name: str) -> Description | None:
        """The variant with the values of kept searches that ``name`` means, if it means one."""
        method = name.removesuffix(SUFFIX)
        files = kept_searches(method) if method != name and method in self.methods else {}
        if not files:
            return None
        own: dict[str, Any] = {"datasets": {}, "sources": {}}
        for dataset in files:
            if (found := kept_search(dataset, method)) is not None:
                own["datasets"][dataset] = found.best
                own["sources"][dataset] = f"The best of {found.budget} trials of `starprompt tune`."
        where = ", ".join(map(str, files.values()))
        return Description(name, method, own, where, is_file=False)

    def merged(self, name: str) -> dict[str, Any]:
        """What a method says with all that it inherits.

        A variant inherits all but its name; mappings are merged key by key, the variant's winning.
        """
        value: dict[str, Any] = {}
        for one in self.lineage(name):
            value = _merge(value, one.own)
        return copy.deepcopy(value)


def _merge(parent: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = {**parent, **own}
    for key in MERGED:
        if key in parent or key in own:
            merged[key] = {**parent.get(key, {}), **own.get(key, {})}
    # What a variant changes, it changes on every data set: its own value beats the parent's
    # value for one data set.
    changed = set(own.get("hyperparameters", {}))
    merged["datasets"] = {
        dataset: {k: v for k, v in values.items() if k not in changed}
        for dataset, values in parent.get("datasets", {}).items()
    }
    for dataset, values in own.get("datasets", {}).items():
        merged["datasets"][dataset] = {**merged["datasets"].get(dataset, {}), **values}
    return merged


def read_catalogue(folder: Path) -> Catalogue:
    """All methods and variants that the files of ``folder`` describe, the package's included.

    A file that cannot be read is no hindrance to the others; its error is under ``broken``.
    """
    texts: dict[Path, str] = {}
    broken: dict[str, UserError] = {}
    for file in overlay(folder).values():
        try:
            require_name("method", file.stem, file)
            texts[file] = read_text(file)
        except UserError as error:
            broken[file.stem] = error
    found = _catalogue(tuple(texts.items()))
    return Catalogue(found.methods, {**broken, **found.broken})


@lru_cache(maxsize=8)
def _catalogue(texts: tuple[tuple[Path, str], ...]) -> Catalogue:
    """The catalogue of files by their text, which is parsed once."""
    methods: dict[str, Description] = {}
    broken: dict[str, UserError] = {}
    for file, text in texts:
        try:
            for one in _of_file(file, text):
                _add(one, methods, broken)
        except UserError as error:
            broken[file.stem] = error
    catalogue = Catalogue(methods, broken)
    for one in list(methods.values()):
        if isinstance(one.own.get("keys"), dict):
            try:
                keys = _derived_keys(one, catalogue)
            except UserError as error:
                broken[one.name] = error
                continue
            methods[one.name] = replace(one, own={**one.own, "keys": keys})
    return catalogue


def _add(one: Description, methods: dict[str, Description], broken: dict[str, UserError]) -> None:
    if one.name in methods:
        broken[one.name] = UserError(
            f"{one.name} is described twice, in {methods[one.name].where} and in {one.where}; "
            "remove or rename one."
        )
    methods.setdefault(one.name, one)


def _of_file(file: Path, text: str) -> list[Description]:
    """The method of a file, and its variants in the file's order."""
    value = _mapping(parse_yaml(text, file), str(file))
    parent = value.pop("extends", None)
    if parent is not None:
        require_name("method (under `extends`)", parent, file)
    entries = _mapping(value.pop("variants", {}), f"{file}: variants")
    _check_mappings(value, str(file))
    found = [Description(file.stem, parent, value, str(file), is_file=True)]
    for pattern, entry in entries.items():
        where = f"{file}: variants.{pattern}"
        for name, own in _swept(pattern, _mapping(entry, where), where):
            require_name("variant", name, where)
            _check_mappings(own, where)
            for key in ("extends", "variants", "name"):
                if key in own:
                    raise UserError(f"{where}: a variant has no `{key}` of its own; remove it.")
            if not isinstance(own.get("title"), str):
                raise UserError(f"{where}: `title` is missing; say in a few words what differs.")
            found.append(Description(name, file.stem, own, where, is_file=False))
    return found


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a mapping of keys to values; write one.")
    return value


def _check_mappings(own: dict[str, Any], where: str) -> None:
    """Refuse what could not be merged."""
    for key in (*MERGED, "datasets"):
        if key in own:
            _mapping(own[key], f"{where}: {key}")
    for dataset, values in own.get("datasets", {}).items():
        _mapping(values, f"{where}: datasets.{dataset}")


def _swept(pattern: str, entry: dict[str, Any], where: str) -> list[tuple[str, dict[str, Any]]]:
    """The variants of an entry: itself, or one per value of its sweep."""
    sweep = entry.pop("sweep", None)
    if sweep is None:
        return [(pattern, entry)]
    match list(sweep.items()) if isinstance(sweep, dict) else None:
        case [(str(variable), list(values))] if 0 < len(values) <= MOST_SWEPT:
            slot = f"{{{variable}}}"
        case _:
            raise UserError(
                f"{where}: sweep must name one variable and list 1 to {MOST_SWEPT} values, as in "
                "`sweep: {m: [1, 2, 5]}`."
            )
    if slot not in pattern:
        raise UserError(f"{where}: the variant's name must hold {slot}, which sweep varies.")
    if any(not isinstance(value, int | float | str) for value in values):
        raise UserError(f"{where}: sweep.{variable} must list numbers or texts alone.")
    if len({str(value) for value in values}) != len(values):
        raise UserError(f"{where}: sweep.{variable} has a value twice; keep one.")
    return [(pattern.replace(slot, str(v)), _filled(entry, slot, v)) for v in values]


def _filled(value: Any, slot: str, swept: Any) -> Any:
    """``value`` with the swept one in its place: a text that is only the slot becomes it."""
    if isinstance(value, dict):
        return {key: _filled(part, slot, swept) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, slot, swept) for part in value]
    if isinstance(value, str):
        return swept if value == slot else value.replace(slot, str(swept))
    return value


def _derived_keys(one: Description, catalogue: Catalogue) -> str:
    """The method that makes a variant's keys, which differs as the variant's ``keys`` say.

    It is the parent's own where nothing differs, else one that is there already and differs in the
    same, else a new one, named after the variant: `-no-replay` of a method is `-no-replay` of the
    method of its keys.
    """
    own = _mapping(one.own["keys"], f"{one.where}: keys")
    base = catalogue.merged(one.parent).get("keys") if one.parent else None
    if not isinstance(base, str):
        raise UserError(
            f"{one.where}: keys is a mapping, but no method that it varies has keys; name the "
            "method that makes them."
        )
    where = f"{one.where}: keys"
    _check_mappings(own, where)
    wanted = _substance(_merge(catalogue.merged(base), own))
    for name in (base, *(d.name for d in catalogue.methods.values() if d.parent == base)):
        if name not in catalogue.broken and _substance(catalogue.merged(name)) == wanted:
            return name
    derived = f"{base}-{_difference(one.name, str(one.parent))}"
    require_name("method", derived, where)
    title = catalogue.merged(base).get("title")
    labels = {
        "title": f"{title}, {one.own.get('title', one.name)}",
        "description": f"{title} as `{one.name}` has it.",
        "group": catalogue.merged(one.name).get("group"),
    }
    _add(
        Description(derived, base, {**labels, **own}, where, is_file=False),
        catalogue.methods,
        catalogue.broken,
    )
    return derived


def _substance(merged: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in merged.items() if key not in _LABELS}


def _difference(name: str, parent: str) -> str:
    """What of a variant's name is not its parent's."""
    return name.removeprefix(f"{parent}-").removesuffix(f"-{parent}")
