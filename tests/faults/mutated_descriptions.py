"""Mutated descriptions of data sets: `python -m tests.faults.mutated_descriptions` (700 trials).

A description that is accepted must hold what was written, to the type, and be fit for use: names
below their root, statistics that can be divided by, tasks that add up, a stream with batches or a
refusal.
"""

import copy
import json
import math
import random
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

from starprompt.data.registry import DatasetSpec, load_dataset_spec
from starprompt.data.stream import TaskStream
from tests.faults._campaign import Trial, WrongError, main, with_lines_swapped, with_token
from tests.helpers.small_stream import prepared

FOLDER = Path(__file__).parents[2] / "config" / "datasets"
#: values that a careless or a hostile hand may write, as YAML has them
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 0.5, -0.5, 1.0, 1e-300, 1e300),
    *("", " ", "no", "yes", "on", "1e3", "2020-01-01", "010", "0x10", "null", "true", ".inf"),
    *(
        "../../x",
        "/etc/passwd",
        "a;touch x",
        "$(ls)",
        "`ls`",
        "a\nb",
        "a\tb",
        "a\x1b[31m",
        "é",
        "{}",
    ),
    *("{} {}", "{0}", "{x}", "a" * 5000, "=1+1", "[a](http://x)", "<script>", "\u202e", "\ufeff"),
    *([], {}, [[]], [None], [0], [-1], [True], ["a", "a"], {"a": 1}, [10**12], [0.1, 0.2, 0.3]),
    *([[[[1]]]], {"step": "resize"}, {"kind": "hub"}, {"first": 5, "increment": 5}),
    *({"step": "center_crop", "size": 4096}, [{"step": "random_crop", "size": 65}]),
    *([{"step": "center_crop", "size": 64}], [{"step": "resize", "size": [1, 1]}]),
    *([{"step": "resize", "size": 7}, {"step": "resize", "size": [3, 4000]}],),
]
TOKENS = [
    *("yes", "no", "on", "off", "2020-01-01", "010", "1_000", "1:30", ".inf", ".nan", "1e999"),
    *("!!python/object/apply:os.system [ls]", "!!binary aGk=", "&a [*a]", "*a", "<<: {a: 1}"),
    *("[" * 200, "{a: " * 100, "? [a]", "- ", ": ", "|", ">", "%YAML 9.9", "---", "...", "\x00"),
    *("\t", "@", "`", "\u2028", "'", '"', "#", "\ud7ff", "9" * 400, "-", "null", "~", "\x85"),
]


@cache
def _descriptions() -> dict[str, str]:
    texts = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.yaml"))}
    mine = yaml.safe_load(texts["digits"]) | {
        "name": "mine",
        "classes": 10,
        "sources": [{"format": {"kind": "image-folder", "folder": "mine", "test_share": 0.2}}],
        "stored": {"train": [{"step": "resize", "size": [64, 64]}], "test": []},
        "test_transform": [{"step": "resize", "size": 64}, {"step": "center_crop", "size": 64}],
    }
    # Half of the trials are of descriptions whose streams are opened.
    return texts | {"mine": yaml.safe_dump(mine, allow_unicode=True, sort_keys=False)}


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    parts = list(value.items()) if isinstance(value, dict) else []
    parts = list(enumerate(value)) if isinstance(value, list) else parts
    for key, part in parts[:12]:
        found += _paths(part, (*path, key))
    return found


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def make(seed: int, number: int) -> Trial:
    """The mutated description of that number."""
    random_ = random.Random(f"{seed} description {number}")
    names = ["digits", "mine", random_.choice(sorted(_descriptions()))]
    name = random_.choice(names)
    text = _descriptions()[name]
    kind = random_.choice(
        ("value", "value", "value", "key", "text", "token", "line", "name", "twice")
    )
    written: tuple[tuple[Any, ...], Any] | None = None
    if kind in ("value", "key"):
        value = yaml.safe_load(text)
        path = random_.choice(_paths(value))
        new = copy.deepcopy(random_.choice(VALUES))
        parent = _at(value, path[:-1])
        if kind == "value":
            parent[path[-1]] = new
            written = (path, new)
        elif isinstance(parent, dict):
            wrong = random_.choice(("Tasks", "task", "__class__", "", "a" * 300, "tasks "))
            parent[wrong] = parent.pop(path[-1])
        else:
            parent.append(new)
        text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    elif kind == "text":
        out = list(text)
        for _ in range(random_.choice((1, 2, 8))):
            out[random_.randrange(len(out))] = chr(random_.choice((0, 9, 10, 32, 45, 58, 91, 233)))
        text = "".join(out)
    elif kind == "token":
        text = with_token(random_, text, TOKENS)
    elif kind == "line":
        text = with_lines_swapped(random_, text)
    elif kind == "twice":
        text += f"\n{random_.choice(('tasks: 2', 'name: other', 'classes: 3', 'title: T'))}\n"
    file_name = name
    if kind == "name":
        file_name = random_.choice(
            ("a b", "Digits", "a;b", "$(x)", "x" * 120, "é", "digits\n", "-a")
        )
        text = text.replace(f"name: {name}", f"name: {json.dumps(file_name)}", 1)

    def act(folder: Path) -> None:
        path = folder / f"{file_name}.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        spec = load_dataset_spec(file_name, folder)
        if kind in ("name", "twice"):
            raise WrongError(f"{kind}: {file_name!r} was accepted")
        _refuse_unfit(spec)
        if written is not None:
            _refuse_converted(spec, *written)
        if name in ("digits", "mine"):
            _use(spec)

    return Trial(f"{'own' if name == 'mine' else 'shipped'}: {kind}", act)


def _refuse_unfit(spec: DatasetSpec) -> None:
    if not all(math.isfinite(v) for v in spec.normalisation.mean):
        raise WrongError(f"mean {spec.normalisation.mean}")
    if not all(math.isfinite(v) and v > 0 for v in spec.normalisation.std):
        raise WrongError(f"std {spec.normalisation.std}")
    names = spec.class_names or []
    if len({name.casefold() for name in names}) != len(names):
        raise WrongError("class names stand twice")
    for line in (spec.title, *names, *spec.templates):
        if any(ord(letter) < 32 for letter in line):
            raise WrongError(f"{line!r} breaks lines")
    for template in spec.templates:
        template.format("a")
    for source in spec.sources:
        for part in (*source.fetch, source.format):
            for key, value in part.model_dump().items():
                values = value if isinstance(value, list) else [value]
                known = key in ("file", "files", "archive", "train", "test", "split", "images")
                if known and any(".." in Path(str(v)).parts or str(v)[:1] == "/" for v in values):
                    raise WrongError(f"{key}: {value!r} leaves its root")
    if spec.classes is not None and spec.task_ends(spec.classes)[-1] != spec.classes:
        raise WrongError("tasks do not add up")


def _refuse_converted(spec: DatasetSpec, path: tuple[Any, ...], new: Any) -> None:
    """What was accepted must be what was written: same type, same value."""
    try:
        found = _at(spec.model_dump(mode="json"), path)
    except (KeyError, IndexError, TypeError) as error:
        raise WrongError(f"{path} is gone: {error}") from error
    if not _is_kept(new, found):
        raise WrongError(f"{path}: {new!r} became {found!r}"[:250])


def _is_kept(new: Any, found: Any) -> bool:
    """Whether a model holds just what was written; what it adds are defaults of other keys."""
    if isinstance(new, dict) and isinstance(found, dict):
        return all(key in found and _is_kept(new[key], found[key]) for key in new)
    if isinstance(new, list) and isinstance(found, list):
        return len(new) == len(found) and all(map(_is_kept, new, found))
    same = type(found) is type(new) or (type(new) is int and type(found) is float)
    return bool(same and found == new)


def _use(spec: DatasetSpec) -> None:
    stream = TaskStream(prepared(4, 2), spec, 1993)
    for batch in (
        next(stream[0].train.batches(2, augment=True, shuffle=True)),
        next(stream[-1].test.batches(2)),
    ):
        images = stream.info.normalisation(batch.images)
        if not torch.isfinite(images).all() or images.shape[2:] != (spec.image_size,) * 2:
            raise WrongError(f"a view of {tuple(images.shape)} for image_size {spec.image_size}")


if __name__ == "__main__":
    sys.exit(main("mutated descriptions", make, 700, __doc__ or ""))
