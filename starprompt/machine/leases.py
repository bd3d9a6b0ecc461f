"""A GPU of its own for every job: devices are leased, for the life of a process, by file locks.

A workflow or a shell loop that starts several jobs at once counts devices at best but hands
out none: every job would compute on the first one. Here a job takes a free device among those that
it may see, or waits for one, and hides all others from CUDA. Nothing here imports torch, because
the choice must be made before CUDA is initialised.

The folder of leases (one for each host and user) holds

    mutex.lock                held for the millisecond in which somebody decides
    GPU-....0.lock, .json     locked while that device, or a share of it, is leased; by whom
    queue/0000000007.lock     locked while a job waits, with what it waits for beside it

A lock falls with its process however that one ends, and with the lock the lease; the ``.json``
beside a lock that is not held means nothing. Files of other names are not ours and are passed over.
Jobs are served in the order in which they came, so
that one that wants two devices is not starved by those that want one.
"""

import json
import logging
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from pydantic import PositiveInt, TypeAdapter

from starprompt.errors import UserError
from starprompt.files import read_json
from starprompt.machine.gpus import FAKE, VISIBLE, visible

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: environment variable: where the locks stand, instead of a folder under /tmp
FOLDER = "STARPROMPT_LEASES"
#: seconds between two looks of those who are served next
POLL = 0.05
#: at most so many seconds between two looks of those far behind
LONGEST_POLL = 2.0


@dataclass(frozen=True)
class Wish:
    """What a job waits for: ``count`` of the ``devices``, a ``share``-th part of each."""

    devices: tuple[str, ...]
    count: PositiveInt = 1
    share: PositiveInt = 1

    @property
    def part(self) -> Fraction:
        """Share of a GPU that is asked for."""
        return Fraction(1, self.share)


@dataclass(frozen=True)
class Lease:
    """Devices that are ours until this process ends."""

    devices: tuple[str, ...]
    share: int
    since: str
    locks: tuple[FileLock, ...]


class _Process:
    """What this process holds, and when its present run began."""

    lease: Lease | None = None
    began: str | None = None


def lease(
    gpus: int,
    runs_per_gpu: int = 1,
    what: str = "",
    environ: MutableMapping[str, str] = os.environ,
) -> Lease | None:
    """Lease ``gpus`` devices for the life of this process and let CUDA see no other.

    runs_per_gpu  how many such jobs may share a device; the one with the least on it is taken
    what          says to those who wait what the device is used for

    To be called before CUDA is initialised. Waits, with a message, until enough are free. None,
    and the CPU, where no device is wanted or visible. A second call returns the same lease.
    Raises :class:`UserError` when more are wanted than this job may ever see.
    """
    if _Process.lease is not None:
        return _Process.lease
    if gpus == 0:
        environ[VISIBLE] = ""
        return None
    devices = visible(environ)
    if not devices:
        return None
    if gpus > len(devices):
        raise UserError(
            f"The job asks for {gpus} GPUs, but sees {len(devices)} ({', '.join(devices)}); "
            f"ask for fewer (`gpu` in the experiment) or widen {VISIBLE}."
        )
    taken = Ledger(leases_folder(environ)).take(Wish(tuple(devices), gpus, runs_per_gpu), what)
    environ[VISIBLE] = "" if FAKE in environ else ",".join(taken.devices)
    logger.info("computes on %s", ", ".join(taken.devices))
    _Process.lease = taken
    return taken


def begin_run() -> None:
    """Note that a run begins on what is leased: one process may hold several, one by one."""
    _Process.began = _now()


def describe_lease() -> dict[str, Any] | None:
    """What a run's record says when the run ends: devices, share, its begin and end (UTC)."""
    held = _Process.lease
    if held is None:
        return None
    return {
        "devices": list(held.devices),
        "runs_per_gpu": held.share,
        "began": _Process.began or held.since,
        "ended": _now(),
    }


def leased_share() -> int:
    """How many runs such as this one the leased devices are for; 1 without a lease."""
    return 1 if _Process.lease is None else _Process.lease.share


def leases_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the locks of this host and user stand; made if it is not there.

    The same for all of a user's jobs, whatever their TMPDIR says. Raises :class:`UserError` when it
    cannot be made or is somebody else's.
    """
    if environ.get(FOLDER):
        base = Path(environ[FOLDER])
    else:
        temporary = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
        base = temporary / f"starprompt-leases-{os.getuid()}"
    folder = base / platform.node()
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not environ.get(FOLDER) and base.stat().st_uid != os.getuid():
            raise PermissionError(0, "it belongs to somebody else")
        (folder / "queue").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}, where GPUs are leased, cannot be used ({error.strerror}); set "
            f"{FOLDER} to a writable folder."
        ) from error
    return folder


# --- who holds a device


@dataclass(frozen=True)
class _Holder:
    """What stands beside a lock that is held."""

    pid: int
    share: PositiveInt
    what: str
    since: str


#: what stands beside a ticket, and beside a held lock; made once, because all who wait read often
WISH, HOLDER = TypeAdapter(Wish), TypeAdapter(_Holder)


class Ledger:
    """Who holds and who waits, in one folder of locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mutex = FileLock(folder / "mutex.lock")

    def take(self, wish: Wish, what: str = "") -> Lease:
        """Lease the request as soon as it is free and no earlier request needs it.

        Raises :class:`UserError` where a lock or its folder cannot be read or written.
        """
        with _usable(self.folder):
            return self._take(wish, what)

    def _take(self, wish: Wish, what: str) -> Lease:
        with self._mutex.acquire(poll_interval=0.002):
            ticket, lock = self._join(wish)
        waited_from = time.monotonic()
        waited = False
        try:
            while True:
                with self._mutex.acquire(poll_interval=0.002):
                    devices, ahead = self._granted(ticket, wish)
                    if len(devices) == wish.count:
                        leased = self._lock(devices, wish.share, what)
                        _remove_ticket(ticket)
                        break
                    taken = "" if waited else self._who_has(wish.devices)
                if not waited:
                    some = "one" if wish.count == 1 else f"{wish.count}"
                    logger.warning("no GPU is free (%s): waiting for %s", taken, some)
                    waited = True
                time.sleep(min(LONGEST_POLL, POLL * (1 + ahead // len(wish.devices))))
        finally:
            lock.release()
        if waited:
            logger.info("a GPU became free after %.1f s", time.monotonic() - waited_from)
        return leased

    def holders(self, device: str) -> list[_Holder]:
        """Those who hold the device or a share of it. To be called under the mutex."""
        return [
            self._holder(lock)
            for _, lock in _numbered(self.folder, f"{_file_name(device)}.")
            if _is_held(lock)
        ]

    def _join(self, wish: Wish) -> tuple[Path, FileLock]:
        """A place at the end of the queue, which falls with this process."""
        queue = self.folder / "queue"
        numbers = [number for number, _ in _numbered(queue)]
        ticket = queue / f"{max(numbers, default=0) + 1:010d}.lock"
        lock = FileLock(ticket)
        lock.acquire(timeout=0)
        ticket.with_suffix(".json").write_text(json.dumps(asdict(wish)), encoding="utf-8")
        return ticket, lock

    def _granted(self, ticket: Path, wish: Wish) -> tuple[list[str], int]:
        """The devices granted now, fewer than asked for while it waits; how many are before it.

        Earlier requests are served first, at least in the count. One who cannot be served yet keeps
        the devices that he will have soonest.
        """
        loads: dict[str, Fraction] = {}
        queue = self._waiting(ticket)
        for one in [*queue, wish]:
            for device in one.devices:
                if device not in loads:
                    parts = [Fraction(1, holder.share) for holder in self.holders(device)]
                    loads[device] = sum(parts, Fraction(0))
        for earlier in queue:
            chosen = _least_loaded(earlier, loads)
            if len(chosen) == earlier.count:
                for device in chosen:
                    loads[device] += earlier.part
            else:
                for device in sorted(earlier.devices, key=loads.__getitem__)[: earlier.count]:
                    loads[device] = Fraction(1)
        return _least_loaded(wish, loads), len(queue)

    def _waiting(self, ticket: Path) -> list[Wish]:
        """What those before ``ticket`` wait for; ended processes leave the queue."""
        options = []
        for number, path in _numbered(self.folder / "queue"):
            if number >= int(ticket.stem):
                break
            if not _is_held(path):
                _remove_ticket(path)
                continue
            if wish := _read(path.with_suffix(".json"), WISH):
                options.append(wish)
        return options

    def _lock(self, devices: Sequence[str], share: int, what: str) -> Lease:
        since = _now()
        locks = []
        for device in devices:
            for slot in range(10_000):
                lock = FileLock(
                    self.folder / f"{_file_name(device)}.{slot}.lock", thread_local=False
                )
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                locks.append(lock)
                holder = _Holder(os.getpid(), share, what, since)
                beside = Path(lock.lock_file).with_suffix(".json")
                beside.write_text(json.dumps(asdict(holder)), encoding="utf-8")
                break
        return Lease(tuple(devices), share, since, tuple(locks))

    def _who_has(self, devices: Sequence[str]) -> str:
        said = []
        for device in devices:
            for holder in self.holders(device):
                what = f", {holder.what}" if holder.what else ""
                said.append(f"{device}: process {holder.pid}{what}")
        return "; ".join(said) or "all are kept for those who came earlier"

    def _holder(self, lock: Path) -> _Holder:
        return _read(lock.with_suffix(".json"), HOLDER) or _Holder(0, 1, "just ending", "")


def _numbered(folder: Path, start: str = "") -> list[tuple[int, Path]]:
    """Number and path of each ``START<number>.lock`` in ``folder``, by number.

    Raises OSError where the folder cannot be read, which must not pass for an empty one.
    """
    named = re.compile(rf"{re.escape(start)}([0-9]+)\.lock")
    found = ((named.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(name[1]), path) for name, path in found if name is not None)


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Say in one sentence what keeps a lock or a note in ``folder`` from being used."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not of the system
            raise
        raise UserError(
            f"{error.filename or folder}, by which GPUs are leased, cannot be used "
            f"({error.strerror}); mend that, or set {FOLDER} to another writable folder."
        ) from error


def _least_loaded(wish: Wish, loads: Mapping[str, Fraction]) -> list[str]:
    free = [device for device in wish.devices if loads[device] + wish.part <= 1]
    return sorted(free, key=loads.__getitem__)[: wish.count]


def _is_held(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _remove_ticket(ticket: Path) -> None:
    ticket.with_suffix(".json").unlink(missing_ok=True)
    ticket.unlink(missing_ok=True)


def _read(path: Path, kind: TypeAdapter[T]) -> T | None:
    """What stands beside a lock; None where its owner was killed before it was written.

    A dying process may lose the mutex a moment before the rest of its locks. What is damaged counts
    as not written.
    """
    try:
        return kind.validate_python(read_json(path))
    except ValueError:
        return None


def _file_name(device: str) -> str:
    return device.replace("/", "_")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
