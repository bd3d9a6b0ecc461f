"""What a run ran in: versions, the repository's revision, and the source a learner stands on."""

import ast
import hashlib
import platform
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

#: distributions whose version enters a run's fingerprint; another one here would make every
#: finished run one of other libraries
PACKAGES = ("starprompt", "torch", "torchvision", "timm", "open_clip_torch", "numpy")
#: distributions that compute a part of some runs and that the record names beside those
ALSO_RECORDED = ("scipy", "scikit-learn")
#: nodes that are statements, or hold some
_BODIES = (ast.stmt, ast.ExceptHandler, ast.match_case)
#: what a run stands on beside its learner
RUNNER = "starprompt.continual.runner"
#: folders of ours whose code decides a method's numbers
METHOD_FOLDERS = (
    "starprompt.method",
    "starprompt.continual",
    "starprompt.replay",
    "starprompt.backbones",
    "starprompt.data",
    "starprompt.precision",
)


def versions() -> dict[str, str]:
    """Installed versions by distribution, and Python's, as a run's fingerprint has them."""
    return {"python": platform.python_version(), **_installed(PACKAGES)}


def recorded_versions() -> dict[str, str]:
    """:func:`versions`, and those that a record names without its fingerprint depending on them."""
    return versions() | _installed(ALSO_RECORDED)


def _installed(packages: Iterable[str]) -> dict[str, str]:
    """Versions by distribution; nothing is imported to learn them."""
    found = {}
    for package in packages:
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
    digest = hashlib.sha256()
    for name, path in sorted(_sources(module).items()):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def method_source(module: str) -> str:
    """Hex SHA-256 of the code that decides a method's numbers, without comments and docstrings.

    The learner's own modules count, and of ours those of :data:`METHOD_FOLDERS` that it or the
    runner imports. Records say it, so that runs of different code are not averaged in silence; no
    run is trained again because of it. It is equal under every Python version, and empty for a
    learner that stands in no file, such as a script's own.
    """
    own = module.split(".")[0]
    if own in ("__main__", "__mp_main__") or _source(module) is None:
        return ""
    digest = hashlib.sha256()
    for name, path in sorted(_sources(module).items()):
        ours = any(name == folder or name.startswith(f"{folder}.") for folder in METHOD_FOLDERS)
        if ours or (own != __name__.split(".")[0] and name.split(".")[0] == own):
            tree = ast.parse(path.read_bytes())
            digest.update(f"{name}\0{_canonical(tree)}\0".encode())
    return digest.hexdigest()


def _canonical(node: object) -> str:
    """A syntax tree as text: no places, docstrings, nor fields that hold nothing, which newer
    Pythons add."""
    if isinstance(node, list):
        return f"[{','.join(map(_canonical, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, value in ast.iter_fields(node):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if name == "body" and isinstance(node, documented) and ast.get_docstring(node) is not None:
            value = value[1:]
        if value is not None and value != [] and name not in ("kind", "type_comment"):
            fields.append(f"{name}={_canonical(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _sources(module: str) -> dict[str, Path]:
    """By name, the project's source files that ``module`` and the runner import, at any depth."""
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
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            waiting += _imports(path.read_bytes(), package)
    return files


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


@cache
def _imports(source: bytes, package: str) -> tuple[str, ...]:
    """Names that a source in ``package`` imports; of ``from a import b`` both ``a`` and ``a.b``."""
    found = []
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, node.module or ""]) if node.level else str(node.module)
            base = base.rstrip(".")
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All statements of a tree; expressions, which hold no import, are left alone."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in node._fields:
            part = getattr(node, name, None)
            if isinstance(part, list):
                waiting += [one for one in part if isinstance(one, _BODIES)]
