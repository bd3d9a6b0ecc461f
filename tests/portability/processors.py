"""Whether portable numerics hold: the same kernels and one short run on several processors.

    python tests/portability/processors.py                  # kernels on all models, minutes
    python tests/portability/processors.py --run            # the short run too, half an hour
    python tests/portability/processors.py --models Haswell # only this one, beside this machine

Each model is one of QEMU's user-mode processors (Debian: qemu-user), which compute instruction by
instruction what the real one would; what a model lacks is not there for the libraries either.
QEMU has no AVX-512: its models of processors that have it are without. The first row is this very
machine. Prints a Markdown table and what differs; the exit status is 1 if anything does.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: generations of both makers, each with AVX2 and FMA; two with what a later one added
MODELS = ("Haswell", "Broadwell", "Skylake-Client", "Icelake-Server", "EPYC", "EPYC-Milan")


def computed(what: str, model: str | None, timeout: float) -> tuple[dict[str, str], float]:
    """The digests that `short_run.py` prints on a model, or on this machine, and its seconds."""
    command = [sys.executable, str(HERE / "short_run.py"), what]
    if model is not None:
        command = ["qemu-x86_64", "-cpu", model, *command]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - started


def this_processor() -> str:
    """This machine's processor as the system names it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def main() -> None:
    """Compute on each processor, print the table, exit with 1 where anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--run", action="store_true", help="the short run too")
    parser.add_argument("--models", nargs="*", default=list(MODELS), help="QEMU's names")
    parser.add_argument("--timeout", type=float, default=7200, help="seconds of one process")
    given = parser.parse_args()
    if given.models and shutil.which("qemu-x86_64") is None:
        sys.exit("There is no qemu-x86_64 here; install qemu-user, or give --models without names.")
    kinds = ["kernels", *(["run"] if given.run else [])]
    reference: dict[str, str] = {}
    unlike: list[str] = []
    header = ["Processor", "kernels alike", *(["features", "keys", "predictions"] * given.run), "s"]
    print("| " + " | ".join(header) + " |\n|" + ":--|" * (len(header) - 1) + "--:|", flush=True)
    for model in (None, *given.models):
        found: dict[str, str] = {}
        seconds = 0.0
        for kind in kinds:
            digests, took = computed(kind, model, given.timeout)
            found |= {f"{kind}: {name}": value for name, value in digests.items()}
            seconds += took
        reference = reference or found
        unlike += [
            f"{model}: {name}: {found[name]}, not {reference[name]}"
            for name in reference
            if found[name] != reference[name]
        ]
        names = [name for name in reference if name.startswith("kernels: ")]
        alike = sum(found[name] == reference[name] for name in names)
        cells = [model or f"{this_processor()} (this machine)", f"{alike} of {len(names)}"]
        if given.run:
            shown = ("features", "first stage's state", "second stage")
            cells += [f"`{found[f'run: {name}']}`" for name in shown]
        print("| " + " | ".join([*cells, f"{seconds:.0f}"]) + " |", flush=True)
    print("\n" + ("\n".join(unlike) or "All are the same."))
    sys.exit(bool(unlike))


if __name__ == "__main__":
    main()
