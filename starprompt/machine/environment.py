"""What a run ran in: versions, the repository's revision, and the source a learner stands on."""

import ast
import hashlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

#: distributions whose version the record names
PACKAGES = ("starprompt", "torch", "torchvision", "timm", "open_clip_torch", "numpy")
#: what a run stands on beside its learner
RUNNER = "starprompt.continual.runner"


def versions() -> dict[str, str]:
    """Installed versions by distribution, and Python's; nothing is imported to learn them."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


@cache
def git_revision(folder: Path = Path(__file__).parent) -> str:
    """The commit that ``folder`` was checked out from, "-dirty" added if tracked files differ.

    "unknown" without git, outside a repository, or in one that does not track ``folder`` (a
    package installed into some other project's environment).
    """
    try:
        if not _git(folder, "ls-files", "--", "."):
            return "unknown"
        revision = _git(folder, "rev-parse", "--verify", "HEAD")
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return revision + ("-dirty" if dirty else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()


def source_digest(module: str) -> str:
    """Hex SHA-256 of the project's source that ``module`` and the runner import, at any depth.

    It enters a run's fingerprint: half a run of yesterday's method is no start for today's. Only
    the learner's own package and this one count; libraries count by their versions.
    """
    packages = {module.split(".")[0], __name__.split(".")[0]}
    files: dict[str, Path] = {}
    waiting = [module, RUNNER]
    while waiting:
        name = waiting.pop()
        if name in files or name.split(".")[0] not in packages:
            continue
        path = _source(name)
        if path is not None:
            files[name] = path
            waiting += _imports(path, name)
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name].read_bytes() + b"\0")
    return digest.hexdigest()


def _source(name: str) -> Path | None:
    """The file of a module, None when ``name`` is no module; found without importing it."""
    package, *rest = name.split(".")
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        stem = Path(folder, *rest)
        for path in (stem / "__init__.py", stem.with_name(stem.name + ".py")):
            if path.is_file():
                return path
    if spec is not None and not rest and spec.origin and spec.origin.endswith(".py"):
        return Path(spec.origin)  # a single file beside no package, such as a script's module
    return None


def _imports(path: Path, name: str) -> list[str]:
    """Names that a source file imports; of ``from a import b`` both ``a`` and ``a.b``."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, node.module or ""]) if node.level else str(node.module)
            base = base.rstrip(".")
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found
