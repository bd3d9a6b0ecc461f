"""From which records a page was made: said on the page, and readable by what checks its age."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from paper_figures.collect import Results
from starprompt.files import digest_of, sha256_file
from starprompt.record.run_files import RECORD

_STAMP = re.compile(r"^<!-- made-from (.*) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Provenance:
    """What a page describes.

    config    name of the experiment
    records   digest of all records that it was made from, and their number
    finished  when the last of them finished (ISO 8601)
    titles    by method name, as the page has it
    seeds     as the experiment listed them
    depends   by method name, the digest of what its runs depend on
    """

    config: str
    title: str
    records: str
    runs: int
    finished: str
    titles: Mapping[str, str]
    seeds: tuple[int, ...]
    datasets: tuple[str, ...]
    depends: Mapping[str, str] = field(default_factory=dict)


def provenance(results: Results, depends: Mapping[str, str]) -> Provenance:
    """That of what is made from ``results``."""
    plan = results.plan
    return Provenance(
        config=plan.name,
        title=plan.title,
        records=records_digest(results),
        runs=len(results.records),
        finished=max(record.finished for record in results.records.values()),
        titles={method.name: method.title for method in plan.methods},
        seeds=tuple(plan.seeds),
        datasets=tuple(dataset.name for dataset in plan.datasets),
        depends=dict(depends),
    )


def records_digest(results: Results) -> str:
    """Hex SHA-256 of all records that ``results`` is made from."""
    return digest_of_files(record_files(results))


def record_files(results: Results) -> dict[str, Path]:
    """The records that ``results`` is made from, by data set, method and seed."""
    return {
        "/".join(map(str, key)): results.plan.run_folder(*key) / RECORD for key in results.records
    }


def digest_of_files(files: Mapping[str, Path]) -> str:
    """Hex SHA-256 of the contents of named files."""
    return digest_of({name: sha256_file(path) for name, path in files.items()})


def stamped(page: str, made_from: Provenance) -> str:
    """``page`` with what it was made from: a sentence under the title, a comment at the end."""
    title, _, rest = page.partition("\n\n")
    plural = "s" if made_from.runs != 1 else ""
    sentence = (
        f"Made from {made_from.runs} record{plural} (digest `{made_from.records[:12]}`), the last "
        f"of which finished on {made_from.finished[:10]}."
    )
    # A comment may not hold two hyphens in a row.
    text = json.dumps(asdict(made_from), ensure_ascii=True, sort_keys=True)
    text = text.replace("--", "-\\u002d").replace("--", "-\\u002d").replace(">", "\\u003e")
    return f"{title}\n\n{sentence}\n\n{rest.rstrip()}\n\n<!-- made-from {text} -->\n"


def read_stamp(page: str) -> Provenance | None:
    """What a page was made from; None for one that does not say."""
    found = _STAMP.search(page)
    if found is None:
        return None
    value: dict[str, Any] = json.loads(found.group(1))
    value["seeds"], value["datasets"] = tuple(value["seeds"]), tuple(value["datasets"])
    return Provenance(**value)
