"""What the site adds to the pages in this folder: the project's own pages, and the API reference.

Read by MkDocs as a hook (mkdocs.yml). Pages keep the links by which they lead to each other in the
repository; here each becomes a link of the site, or, for a file that is no page, its name.
"""

import re
from pathlib import Path
from typing import Any

TOP = Path(__file__).parents[1]
#: pages that stand elsewhere in the repository, by their place in the site
PROJECT = {
    "index.md": "README.md",
    "guide.md": "docs/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}
PACKAGES = ("starprompt", "baselines", "paper_figures")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the project's pages, and a page for every package of the API."""
    if (readme := files.get_file_from_path("README.md")) is not None:
        files.remove(readme)
    for place, source in PROJECT.items():
        files.append(_page(config, place, (TOP / source).read_text(encoding="utf-8")))
    for place, text in reference().items():
        files.append(_page(config, place, text))
    return files


def on_config(config: Any) -> Any:
    """Put the pages that are made here into the navigation."""
    api = [{Path(place).stem: place} for place in reference()]
    config["nav"] += [
        {"API": api},
        {"Project": ["contributing.md", "changelog.md", "security.md"]},
    ]
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn the repository's links into the site's."""
    source = PROJECT.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return site_links(markdown, Path(source).parent)


def reference() -> dict[str, str]:
    """One page per package, with every module in it, by its place in the site."""
    pages: dict[str, str] = {}
    for name in PACKAGES:
        folders = {path.parent for path in (TOP / name).rglob("*.py")}
        for folder in sorted(folders):
            modules = [p for p in sorted(folder.glob("*.py")) if not p.stem.startswith("_")]
            package = ".".join(folder.relative_to(TOP).parts)
            own = f"::: {package}\n    options: {{show_root_heading: false}}\n"
            others = "\n".join(f"::: {package}.{path.stem}\n" for path in modules)
            pages[f"api/{package}.md"] = f"# {package}\n\n{own}\n{others}"
    return pages


def site_links(markdown: str, folder: Path) -> str:
    """Links relative to ``folder`` of the repository, as the site has them.

    A link to a file that is no page becomes its text, with the file's path.
    """
    places = {source: place for place, source in PROJECT.items()}

    def changed(match: re.Match[str]) -> str:
        image, text, target, anchor = match[1], match[2], match[3], match[4] or ""
        path = _normal(folder / target)
        if path in places:
            return f"{image}[{text}]({places[path]}{anchor})"
        if path.startswith("docs/") and (TOP / path).is_file():
            return f"{image}[{text}]({path.removeprefix('docs/')}{anchor})"
        if not (TOP / path).exists():
            return match[0]  # MkDocs refuses it
        return f"{text} (`{path}`)" if path not in text else text

    return _LINK.sub(changed, markdown)


def _normal(path: Path) -> str:
    """The path without its ``..``, relative to the repository's top."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _page(config: Any, place: str, text: str) -> Any:
    from mkdocs.structure.files import File

    return File.generated(config, place, content=text)
