"""Methods and their variants as the files describe them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from starprompt.config.experiment import FULL_METHOD, load_config
from starprompt.config.methods import (
    SearchRange,
    described_in,
    list_methods,
    load_method,
    variants_of,
)
from starprompt.errors import UserError
from tests.helpers.method_files import PLAIN
from tests.helpers.paths import REPOSITORY


@pytest.mark.parametrize("wrong", [{}, {"low": 1}, {"low": 1, "high": 2, "choices": [1]}])
def test_a_range_is_whole(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either `choices` or both"):
        SearchRange(**wrong)


SHIPPED = REPOSITORY / "config" / "methods"
Writer = Callable[..., None]


def test_a_broken_file_is_no_hindrance_to_the_others(write: Writer) -> None:
    write(plain=PLAIN, broken="a: [")
    assert load_method("plain").name == "plain"
    assert list_methods() == ["broken", "plain"]
    with pytest.raises(UserError, match=r"broken.yaml is not YAML"):
        load_method("broken")
    with pytest.raises(UserError, match=r"broken.yaml is not YAML"):
        load_method("perhaps-in-the-broken-file")


def test_no_shipped_file_is_a_variant_of_another() -> None:
    files = {file.stem: yaml.safe_load(file.read_text()) for file in SHIPPED.glob("*.yaml")}
    assert [name for name, value in files.items() if "extends" in value] == []


def test_variants_have_the_names_of_finished_runs() -> None:
    assert variants_of("starprompt")[-7:-1] == [f"starprompt-m{m}" for m in (1, 2, 3, 5, 10, 20)]
    keys = {name: load_method(name).keys for name in variants_of("starprompt")}
    first = "starprompt-first-stage"
    assert keys == {
        "starprompt-clip-keys": None,
        "starprompt-clip-keys-ensemble": None,
        "starprompt-learned-keys": None,
        "starprompt-prefix": first,
        "starprompt-post-attention": first,
        "starprompt-no-confidence": first,
        "starprompt-clean-query": first,
        "starprompt-no-orthogonality": f"{first}-no-orthogonality",
        "starprompt-no-replay": f"{first}-no-replay",
        "starprompt-no-replay-1": f"{first}-no-replay",
        "starprompt-no-replay-2": first,
        "starprompt-gaussian": f"{first}-m1",
        "starprompt-m1": f"{first}-m1",
        "starprompt-m2": f"{first}-m2",
        "starprompt-m3": f"{first}-m3",
        "starprompt-m5": first,
        "starprompt-m10": f"{first}-m10",
        "starprompt-m20": f"{first}-m20",
        "joint-starprompt": f"{first}-joint",
    }
    assert load_method("starprompt-m20").resolve("isic")["components"] == 20
    assert load_method(f"{first}-m20").resolve("isic")["components"] == 20
    assert load_method(f"{first}-joint").stream == "joint"
    assert described_in("joint") == "config/methods/finetune.yaml: variants.joint"


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_every_variant_differs_from_the_full_method_in_what_its_name_says(name: str) -> None:
    config = load_config(Path(f"config/{name}.yaml"))
    full = load_method(FULL_METHOD)
    for dataset in config.datasets:
        seen = {}
        for variant in map(load_method, config.ablations):
            if variant.learner != full.learner:
                continue
            values, own = full.resolve(dataset), variant.resolve(dataset)
            changed = {k: own.get(k) for k in {*values, *own} if values.get(k) != own.get(k)}
            if variant.keys != full.keys:
                changed["keys"] = variant.keys
            assert changed, f"{variant.name} is the full method"
            seen[variant.name] = str(sorted(changed.items(), key=str))
        assert len(set(seen.values())) == len(seen), "two variants are one and the same"


def test_variants_share_the_first_stage_unless_theirs_differs() -> None:
    full = load_method(FULL_METHOD)
    keys = load_method(full.keys or "")
    for name in load_config(Path("config/demo.yaml")).ablations:
        variant = load_method(name)
        if variant.keys in (None, full.keys):
            continue
        first = load_method(str(variant.keys))
        assert first.resolve("digits") != keys.resolve("digits")
        changed = {
            k for k, v in first.resolve("digits").items() if keys.resolve("digits").get(k) != v
        }
        own = variant.resolve("digits")
        if "components" in changed:
            assert own["components"] == first.resolve("digits")["components"]
