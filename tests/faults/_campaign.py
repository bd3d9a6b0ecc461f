"""What all campaigns of faults share: trials in a child process, verdicts, and the table.

A trial is made from its number alone, so that any of them can be run again. It ends in one of four
ways: the project refused in a sentence, the fault was harmless (the result is right all the same),
a wrong result was given without a word, or it broke (traceback, crash, hang, memory).
"""

import argparse
import faulthandler
import json
import os
import random
import resource
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starprompt.errors import UserError
from tests.helpers.paths import REPOSITORY

REFUSED, HARMLESS, WRONG, BROKEN = "refused in a sentence", "harmless", "silent wrong", "broken"
OUTCOMES = (REFUSED, HARMLESS, WRONG, BROKEN)
#: what a child may take: a decoder that needs more is one that a file drove to it
SECONDS, BYTES = 60, 8 * 2**30


class WrongError(Exception):
    """A result that is not right, given without a word; the message says how it differs."""


@dataclass(frozen=True)
class Trial:
    """One fault: its kind, and what is done with it in a folder of its own.

    ``act`` returns when the result is right all the same, raises :class:`UserError` where the
    project refused, and :class:`WrongError` where its result is wrong.
    """

    kind: str
    act: Callable[[Path], None]


@dataclass
class Table:
    """Counts of outcomes by kind of fault, and what the two bad ones said."""

    name: str
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    def add(self, number: int, kind: str, outcome: str, message: str) -> None:
        """Count one trial."""
        self.counts.setdefault(kind, Counter())[outcome] += 1
        if outcome in (WRONG, BROKEN):
            self.found.append(f"trial {number} ({kind}): {outcome}: {message}")

    def total(self, outcome: str) -> int:
        """How many trials ended so."""
        return sum(counts[outcome] for counts in self.counts.values())

    @property
    def tried(self) -> int:
        return sum(self.total(outcome) for outcome in OUTCOMES)

    def __str__(self) -> str:
        rows = [
            (kind, *(counts[o] for o in OUTCOMES)) for kind, counts in sorted(self.counts.items())
        ]
        rows.append(("all", *(self.total(outcome) for outcome in OUTCOMES)))
        width = max(len(row[0]) for row in rows)
        head = f"{self.name:<{width}}  {'tried':>6}  " + "  ".join(f"{o:>21}" for o in OUTCOMES)
        lines = [head, "-" * len(head)]
        for kind, *numbers in rows:
            cells = "  ".join(f"{number:>21}" for number in numbers)
            lines.append(f"{kind:<{width}}  {sum(numbers):>6}  {cells}")
        return "\n".join([*lines, *self.found])


def run_trials(
    name: str, make: Callable[[int], Trial], numbers: Iterator[int] | range, seconds: int = SECONDS
) -> Table:
    """Run trials one after the other in a child process, a new one where it died or hung."""
    table, waiting = Table(name), list(numbers)
    while waiting:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            done = _in_child(make, waiting, Path(folder), table, seconds)
        waiting = waiting[done:]
    return table


def _in_child(
    make: Callable[[int], Trial], numbers: list[int], folder: Path, table: Table, seconds: int
) -> int:
    """Run as many as the child lives through; how many have their outcome."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            _run_all(make, numbers, folder, writing)
        finally:
            os._exit(0)
    os.close(writing)
    done, kind, buffer = 0, "?", b""
    ended = False
    while not ended:
        ready, _, _ = select.select([reading], [], [], seconds)
        data = os.read(reading, 1 << 16) if ready else b""
        ended = not data
        buffer += data
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            said = json.loads(line)
            kind = said["kind"]
            if "outcome" in said:
                table.add(numbers[done], kind, said["outcome"], said["message"])
                done += 1
        if not ready:
            os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if done < len(numbers):
        how = f"no answer within {seconds} s" if not ready else f"the process ended ({status})"
        table.add(numbers[done], kind, BROKEN, how)
        done += 1
    return done


def _run_all(make: Callable[[int], Trial], numbers: list[int], folder: Path, writing: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.setrecursionlimit(1000)
    # Libraries of decoders write warnings of damage to the terminal.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    faulthandler.disable()
    for number in numbers:
        try:
            trial = make(number)
        except Exception as error:
            trial = Trial("not made", _raising(error))
        os.write(writing, json.dumps({"kind": trial.kind}).encode() + b"\n")
        outcome, message = _judged(trial, folder / str(number))
        said = {"kind": trial.kind, "outcome": outcome, "message": message}
        os.write(writing, json.dumps(said).encode() + b"\n")


def _raising(error: Exception) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        raise error

    return act


def _judged(trial: Trial, folder: Path) -> tuple[str, str]:
    folder.mkdir()
    try:
        trial.act(folder)
    except UserError as error:
        text = str(error)
        if "\n" in text or len(text) > 2000 or "Traceback" in text or " object at 0x" in text:
            return BROKEN, f"no plain sentence: {text[:300]!r}"
        return REFUSED, text[:300]
    except WrongError as error:
        return WRONG, str(error)[:300]
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return (
            BROKEN,
            f"{type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})",
        )
    return HARMLESS, ""


def check_quickly(campaign: str, count: int, refuses: bool = True) -> None:
    """The quick form of a campaign: fail with its table where a trial was wrong or broke.

    It runs in a process of its own: trials are forks with a limit of memory, and a process that ran
    other tests before has used much of that, and has threads that a fork does not have.
    """
    command = [sys.executable, "-m", f"tests.faults.{campaign}", "--count", str(count)]
    done = subprocess.run(
        [*command, "--seed", "1"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"\n{done.stdout}\n{done.stderr[-3000:]}"
    (total,) = [line.split() for line in done.stdout.splitlines() if line.startswith("all ")]
    tried, refused, _, wrong, broken = map(int, total[1:])
    assert (tried, wrong, broken) == (count, 0, 0)
    if refuses:
        assert refused > 0, "faults are such that some are refused"


def main(
    name: str, make: Callable[[int, int], Trial], count: int, about: str, seconds: int = SECONDS
) -> int:
    """The long form by hand: run ``--count`` trials of ``--seed`` and print the table.

    make  (seed, number) to the trial of that number. Returns 1 where a trial was wrong or broke.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--count", type=int, default=count, help="trials; %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn; %(default)s")
    parser.add_argument("--only", type=int, help="the one trial of that number")
    given = parser.parse_args()
    numbers = range(given.count) if given.only is None else range(given.only, given.only + 1)
    table = run_trials(name, lambda number: make(given.seed, number), numbers, seconds)
    sys.stdout.write(f"{table}\n")
    return int(table.total(WRONG) + table.total(BROKEN) > 0)


def with_token(random_: random.Random, text: str, tokens: Sequence[str]) -> str:
    """The text with one of the tokens somewhere in it."""
    place = random_.randrange(len(text))
    return text[:place] + random_.choice(tokens) + text[place:]


def with_lines_swapped(random_: random.Random, text: str) -> str:
    """The text with two of its lines, or one and the same, in each other's place."""
    lines = text.splitlines()
    first, second = random_.randrange(len(lines)), random_.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return "\n".join(lines)
