"""The cost of digests: of what a run reads and writes, and of checking a finished run.

Every SHA-256 that is computed in this process is under a clock of CPU time, and so are the JSON
texts that are made to be hashed. Three runs of the demo are measured: fine-tuning with one epoch,
so that the share is as large as it gets, STAR-Prompt's first stage, and STAR-Prompt. After that
``starprompt records verify`` checks the three finished runs. The last line is JSON; ``ratio`` is
the share of STAR-Prompt's run.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _timing import report

REPOSITORY = Path(__file__).resolve().parents[1]
SHORT = {"epochs": 1}


class Clock:
    """Adds up the CPU seconds of the calls that it wraps; a call within another counts once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.inside = False

    def wrapped(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            if self.inside:
                return call(*arguments, **named)
            self.inside, started = True, time.process_time()
            try:
                return call(*arguments, **named)
            finally:
                self.seconds += time.process_time() - started
                self.inside = False

        return timed

    def hash(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """A constructor of hashes whose work is under the clock."""

        class Timed:
            def __init__(hash, *arguments: Any, **named: Any) -> None:  # noqa: N805
                inner = self.wrapped(make)(*arguments, **named)
                hash.update = self.wrapped(inner.update)  # type: ignore[attr-defined]
                hash.digest, hash.hexdigest = inner.digest, inner.hexdigest  # type: ignore[attr-defined]
                hash.copy, hash.name = inner.copy, inner.name  # type: ignore[attr-defined]

        return Timed


def main() -> None:
    """Measure, print a table, and one line of JSON."""
    clock = Clock()
    # Before anything imports them by name.
    hashlib.file_digest = clock.wrapped(hashlib.file_digest)
    hashlib.sha256 = clock.hash(hashlib.sha256)  # type: ignore[assignment]
    from starprompt import files

    for name in ("sha256_file", "digest_of", "arrays_digest"):
        setattr(files, name, clock.wrapped(getattr(files, name)))

    import torch

    from starprompt.config.experiment import Run, load_config
    from starprompt.data.commands import prepare_all, specs
    from starprompt.record.record import read_record
    from starprompt.record.run_files import RECORD
    from starprompt.record.verify import verify_run
    from starprompt.training.run import embed, run

    torch.set_num_threads(1)
    os.chdir(REPOSITORY)
    config = load_config(Path("config/demo.yaml"))
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["STARPROMPT_DATA"] = name
        list(prepare_all(specs("digits"), place, skip_corrupt=False, workers=1))
        embed(config, "digits")
        keys = place / "keys"
        for method, folder, keys_folder, changes in [
            ("finetune", place / "finetune", None, SHORT),
            ("starprompt-first-stage", keys, None, {}),
            ("starprompt", place / "starprompt", keys, {}),
        ]:
            cell = Run("digits", method, config.seeds[0])
            clock.seconds, started = 0.0, time.process_time()
            run(config, cell, folder=folder, keys_folder=keys_folder, hyperparameters=changes)
            whole = time.process_time() - started
            found |= {f"{method}_s": whole, f"{method}_digests_s": clock.seconds}
            started = time.process_time()
            verify_run(folder, read_record(folder / RECORD))
            found[f"{method}_verify_s"] = time.process_time() - started
            print(
                f"{method}: {1e3 * clock.seconds:.0f} ms of digests in {whole:.1f} s "
                f"({clock.seconds / whole:.2%}); checking it takes "
                f"{1e3 * found[f'{method}_verify_s']:.0f} ms"
            )
    share = found["starprompt_digests_s"] / found["starprompt_s"]
    report("digests", round(share, 5), **{key: round(value, 4) for key, value in found.items()})


if __name__ == "__main__":
    main()
