"""The command line in this process, for tests that make hundreds of calls."""

import contextlib
import io
import os
import sys
from pathlib import Path

from starprompt import cli


def call(arguments: list[str], folder: Path, data: Path | None = None) -> tuple[int, str]:
    """Exit status of ``starprompt ARGUMENTS`` in ``folder``, and all that it said.

    data  stands for $STARPROMPT_DATA; ``folder/data`` when None
    """
    before, argv = Path.cwd(), sys.argv
    os.chdir(folder)
    os.environ["STARPROMPT_DATA"] = str(data or folder / "data")
    said = io.BytesIO()
    out = io.TextIOWrapper(said, "utf-8", write_through=True)
    err = io.TextIOWrapper(said, "utf-8", "backslashreplace", write_through=True)
    sys.argv = ["starprompt", *arguments]
    status = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = argv
        os.chdir(before)
    return status, said.getvalue().decode(errors="replace")
