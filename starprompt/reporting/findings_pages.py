"""The findings among the docs: written on request, and marked once they are out of date.

Experiments write their findings under ``results/``. ``starprompt docs findings`` copies those of
one experiment into ``docs/``, with their figures, and writes its table in the README. A page says
which records it was made from; what has changed in the configuration since stands at its top.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from starprompt.config.experiment import RESULTS, Config, load_config
from starprompt.config.methods import load_method
from starprompt.errors import UserError
from starprompt.files import atomic_path, write_text
from starprompt.grid.ablation_jobs import analysed_methods
from starprompt.reporting import ablations, comparison
from starprompt.reporting.plan import finished_runs

DOCS = Path("docs")
README = Path("README.md")
CONFIGS = Path("config")
_NOTICE = re.compile(r"^> \*\*Out of date\.\*\* .*\n\n", re.MULTILINE)
_LINK = re.compile(r"!\[([^\]]*)\]\(figures/([\w.-]+)\)")
_ROW = re.compile(r"^\| *([^|]+?) *\| *([^|]+?) *\|", re.MULTILINE)
_CELL = re.compile(r"(\d+(?:\.\d+)?) ± (\d+(?:\.\d+)?)")


def write_findings_pages(
    config_path: Path, docs: Path = DOCS, results: Path = RESULTS, readme: Path = README
) -> list[Path]:
    """Copy an experiment's findings to ``docs/findings-<name>.md``; return the files written.

    With ablations those are the ablations' findings, else the comparison's. The table of the README
    that stands between ``<!-- accuracy NAME -->`` and ``<!-- end -->`` is written anew.

    Raises :class:`UserError` when the findings are not there.
    """
    config = load_config(config_path)
    source = _source(config, results)
    if not source.is_file():
        target = "ablations" if config.ablations else "compare"
        raise UserError(f"There is no {source}; make it with `snakemake {target}` first.")
    text = source.read_text(encoding="utf-8")
    written = []
    for _, name in _LINK.findall(text):
        image = docs / "images" / f"{config.name}-{name}"
        with atomic_path(image) as part:
            shutil.copyfile(source.parent / "figures" / name, part)
        written.append(image)
    text = _LINK.sub(rf"![\1](images/{config.name}-\2)", text)
    page = docs / f"findings-{config.name}.md"
    if _write_readme(config, readme):
        written.append(readme)
    write_text(page, with_notice(text, list(changed_since(text, config, readme))))
    return [page, *written]


def refresh_notices(docs: Path = DOCS, readme: Path = README) -> list[Path]:
    """Mark every page of findings that is older than its configuration; return the pages."""
    pages = []
    for page, config in findings_pages(docs):
        text = page.read_text(encoding="utf-8")
        fresh = with_notice(text, list(changed_since(text, config, readme)))
        if fresh != text:
            write_text(page, fresh)
        pages.append(page)
    return pages


def findings_pages(docs: Path = DOCS) -> Iterator[tuple[Path, Config]]:
    """The pages among the docs, each with its experiment's configuration."""
    for page in sorted(docs.glob("findings-*.md")):
        path = CONFIGS / f"{page.stem.removeprefix('findings-')}.yaml"
        if path.is_file():
            yield page, load_config(path)


def with_notice(text: str, reasons: list[str]) -> str:
    """The page with what has changed since under its title; nothing where nothing has."""
    text = _NOTICE.sub("", text)
    if not reasons:
        return text
    title, _, rest = text.partition("\n\n")
    return f"{title}\n\n> **Out of date.** {' '.join(reasons)}\n\n{rest}"


def changed_since(text: str, config: Config, readme: Path = README) -> Iterator[str]:
    """Sentences on what a page of ``config`` describes otherwise than the configuration does.

    A page from before pages said what they were made from is judged by the titles in its tables.
    """
    from paper_figures.provenance import read_stamp

    names = analysed_methods(config) if config.ablations else config.methods
    titles = {name: load_method(name).title for name in names}
    stamp = read_stamp(text)
    if stamp is None:
        yield "The page does not say which records it was made from."
        shown = {row.removesuffix("\u00a0†").removesuffix(" †") for row, _ in _ROW.findall(text)}
        lacking = [title for title in titles.values() if title not in shown]
        if lacking:
            yield f"Not in it: {', '.join(lacking)}."
    else:
        new = [title for name, title in titles.items() if name not in stamp.titles]
        gone = [title for name, title in stamp.titles.items() if name not in titles]
        renamed = [
            f"{stamp.titles[name]} (now {title})"
            for name, title in titles.items()
            if stamp.titles.get(name, title) != title
        ]
        depends = ablations.depends(config, names)
        changed = [
            titles[name]
            for name in names
            if stamp.depends.get(name, depends[name]) != depends[name]
        ]
        for what, listed in [
            ("Not in it", new),
            ("No longer in the experiment", gone),
            ("Renamed", renamed),
            ("Set up otherwise since", changed),
        ]:
            if listed:
                yield f"{what}: {', '.join(listed)}."
        if stamp.seeds != tuple(config.seeds):
            yield f"The experiment's seeds are now {', '.join(map(str, config.seeds))}."
        if stamp.datasets != tuple(config.datasets):
            yield f"The experiment's data sets are now {', '.join(config.datasets)}."
    differing = _unlike_readme(text, config, readme)
    if differing:
        yield f"The README's table is of other runs: {'; '.join(differing)}."


def _source(config: Config, results: Path) -> Path:
    folder = results / config.name
    return folder / "ablations" / ablations.PAGE if config.ablations else folder / comparison.PAGE


def _markers(config: Config) -> tuple[str, str]:
    return f"<!-- accuracy {config.name} -->", "<!-- end -->"


def _readme_table(config: Config, readme: Path) -> str | None:
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    start, end = _markers(config)
    _, found, rest = text.partition(start)
    return rest.partition(end)[0] if found else None


def _write_readme(config: Config, readme: Path) -> bool:
    """Write the accuracy table into the README where it has a place for it."""
    from paper_figures.tables.forms import to_markdown
    from paper_figures.tables.paper import accuracy_table

    old = _readme_table(config, readme)
    if old is None:
        return False
    table = to_markdown(accuracy_table(finished_runs(config)), notes=False).partition("\n\n")[2]
    text = readme.read_text(encoding="utf-8")
    start, _ = _markers(config)
    write_text(readme, text.replace(f"{start}{old}", f"{start}\n{table}"))
    return True


def _unlike_readme(text: str, config: Config, readme: Path) -> list[str]:
    """Methods whose mean or deviation in the README differs from the page's first table's."""
    table = _readme_table(config, readme)
    if table is None:
        return []
    first = text.partition("\n|")[2].partition("\n\n")[0]
    page = {title: _CELL.search(cell) for title, cell in _ROW.findall(f"|{first}")}
    differences = []
    for title, cell in _ROW.findall(table):
        ours, theirs = _CELL.search(cell), page.get(title)
        if ours is None or theirs is None:
            continue
        pairs = zip(ours.groups(), theirs.groups(), strict=True)
        if any(abs(float(a) - float(b)) > 0.051 for a, b in pairs):
            differences.append(f"{title} {ours.group()} there, {theirs.group()} here")
    return differences
