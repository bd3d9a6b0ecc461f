"""Devices leased by file locks: one job a device, whatever happens to the jobs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from starprompt.errors import UserError
from starprompt.machine import leases, memory
from starprompt.machine.leases import Lease, Ledger, Wish
from tests.helpers.lease_jobs import DEVICES, JOBS
from tests.helpers.paths import HELPERS, REPOSITORY

FIRST, PARTS, LAST = "GPU-aaaa0000-1111", ["MIG-cccc-1", "MIG-cccc-2"], "GPU-dddd0000-3333"


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_Process", type("_Process", (leases._Process,), {}))


@pytest.mark.usefixtures("with_gpus")
def test_cuda_sees_what_was_leased_and_nothing_else(tmp_path: Path) -> None:
    environ = {"STARPROMPT_LEASES": str(tmp_path), "CUDA_VISIBLE_DEVICES": "2"}
    held = leases.lease(1, environ=environ)
    assert held is not None and held.devices == (LAST,)
    assert environ["CUDA_VISIBLE_DEVICES"] == LAST
    assert leases.lease(1, environ=environ) is held
    leases.begin_run()
    described = leases.describe_lease()
    assert described is not None and described["devices"] == [LAST]
    assert held.since <= described["began"] <= described["ended"]
    for lock in held.locks:
        lock.release()


def test_a_run_plans_with_its_share_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70, 80))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5)
    assert memory.available_bytes(torch.device("cuda")) == 75
    environ = {"STARPROMPT_LEASES": str(tmp_path), "STARPROMPT_FAKE_DEVICES": "1"}
    held = leases.lease(1, 2, environ=environ)
    assert held is not None
    assert memory.available_bytes(torch.device("cuda")) == 40
    give_back(held)


@pytest.mark.usefixtures("with_gpus")
def test_a_job_that_wants_no_gpu_sees_none() -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "0"}
    assert leases.lease(0, environ=environ) is None
    assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert leases.describe_lease() is None


def test_more_than_a_job_may_ever_see_is_refused() -> None:
    with pytest.raises(UserError, match=r"asks for 2 GPUs, but sees 1 \(fake0\)"):
        leases.lease(2, environ={"STARPROMPT_FAKE_DEVICES": "1"})


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="STARPROMPT_LEASES"):
        leases.leases_folder({"STARPROMPT_LEASES": str(tmp_path / "file")})


def ledger_in(folder: Path) -> Ledger:
    return Ledger(leases.leases_folder({"STARPROMPT_LEASES": str(folder)}))


class Waiter(threading.Thread):
    """One that takes devices as another process would: locks are those of open files."""

    def __init__(self, folder: Path, wish: Wish, what: str = "") -> None:
        super().__init__(daemon=True)
        self.lease: Lease | None = None
        self._arguments = (folder, wish, what)
        queue = ledger_in(folder).folder / "queue"
        before = len(list(queue.glob("*.json")))
        self.start()
        deadline = time.monotonic() + 30
        while self.lease is None and len(list(queue.glob("*.json"))) <= before:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def run(self) -> None:
        folder, wish, what = self._arguments
        self.lease = ledger_in(folder).take(wish, what)

    def served(self) -> Lease:
        self.join(30)
        assert self.lease is not None
        return self.lease


def give_back(lease: Lease) -> None:
    for lock in lease.locks:
        lock.release()


def test_shares_go_to_the_device_with_the_least_on_it(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    wish = Wish(("a", "b"), share=3)
    held = [ledger.take(wish) for _ in range(6)]
    assert [lease.devices for lease in held] == [("a",), ("b",)] * 3
    waiting = Waiter(tmp_path, wish)
    time.sleep(0.3)
    assert waiting.lease is None
    give_back(held[3])
    assert waiting.served().devices == ("b",)


def test_a_whole_device_is_not_a_share_more(tmp_path: Path) -> None:
    """Experiments with other numbers of runs a device meet on one machine."""
    ledger = ledger_in(tmp_path)
    half = ledger.take(Wish(("a",), share=2))
    whole = Waiter(tmp_path, Wish(("a",)))
    late = Waiter(tmp_path, Wish(("a",), share=2))  # there is room for it, but not its turn
    time.sleep(0.5)
    assert whole.lease is None and late.lease is None
    give_back(half)
    give_back(whole.served())
    late.served()


def test_one_that_wants_two_is_not_starved_by_those_that_want_one(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    first = ledger.take(Wish(("a", "b")))
    two = Waiter(tmp_path, Wish(("a", "b"), count=2))
    late = Waiter(tmp_path, Wish(("a", "b")))
    time.sleep(0.5)
    assert two.lease is None and late.lease is None
    give_back(first)
    assert two.served().devices == ("a", "b")
    give_back(two.served())
    late.served()


def test_one_that_sees_another_device_does_not_wait_behind(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    held = ledger.take(Wish(("a",)))
    behind = Waiter(tmp_path, Wish(("a",)))
    assert ledger.take(Wish(("a", "b"))).devices == ("b",)
    give_back(held)
    behind.served()


def test_who_waits_is_told_once_who_has_what(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = ledger_in(tmp_path).take(Wish(("a",)), "ncm on digits")
    waiting = Waiter(tmp_path, Wish(("a",)))
    time.sleep(0.4)
    give_back(held)
    waiting.served()
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said == [f"no GPU is free (a: process {os.getpid()}, ncm on digits): waiting for one"]


HOLDER = """
import multiprocessing, os, subprocess, sys, time
from starprompt.machine import leases
leases.lease(1)
worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
worker.start()
program = subprocess.Popen(["sleep", "60"], close_fds=False)
print(worker.pid, program.pid, flush=True)
time.sleep(60)
"""


def test_killed_it_gives_back_though_its_workers_live_on(tmp_path: Path) -> None:
    """Workers of a data loader and other children must not keep the device of a dead parent."""
    environ = {
        **os.environ,
        "STARPROMPT_LEASES": str(tmp_path),
        "STARPROMPT_FAKE_DEVICES": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
    environ.pop("CUDA_VISIBLE_DEVICES", None)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], env=environ, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    children = [int(pid) for pid in holder.stdout.readline().split()]
    try:
        waiting = Waiter(tmp_path, Wish(("fake0",)))
        time.sleep(0.3)
        assert waiting.lease is None
        holder.kill()
        holder.wait()
        give_back(waiting.served())
        for pid in children:
            os.kill(pid, 0)  # still there
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        holder.stdout.close()


def outcome(tmp_path: Path, kind: str) -> dict[int, dict[str, dict]]:
    """What every job noted, by job and event."""
    command = [sys.executable, str(HELPERS / "lease_jobs.py"), str(tmp_path), "0", kind]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    jobs: dict[int, dict[str, dict]] = defaultdict(dict)
    for line in (tmp_path / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        jobs[event["job"]][event["what"]] = event
    assert len(jobs) == JOBS
    for job in jobs.values():
        assert job["gone"]["status"] in ((0, signal.SIGKILL) if "killed" in job else (0,))
        assert "has" in job or "killed" in job, "it ended without a device"
    killed_while_held = [j for j in jobs.values() if {"killed", "has"} <= set(j)]
    killed_while_waiting = [j for j in jobs.values() if "killed" in j and "has" not in j]
    assert len(killed_while_held) > 5 and len(killed_while_waiting) > 1
    return jobs


def end_of(job: dict[str, dict]) -> float:
    """When a job that had devices computed for the last time."""
    ends = [job[what]["time"] for what in ("ends", "killed") if what in job]
    return min(ends)


def most_on_a_device(jobs: dict[int, dict[str, dict]]) -> Fraction:
    """The most that was on any device at any time."""
    changes = []
    for job in jobs.values():
        if "has" not in job:
            continue
        part = Fraction(1, job["has"]["share"])
        for device in job["has"]["devices"]:
            begin, end = job["has"]["time"], end_of(job)
            if end > begin:
                changes += [(begin, 1, device, part), (end, 0, device, -part)]
    on: dict[str, Fraction] = defaultdict(Fraction)
    most = Fraction(0)
    for _, _, device, change in sorted(changes):
        on[device] += change
        most = max(most, on[device])
    return most


@pytest.mark.parametrize("kind", ["same", "shares"])
def test_two_hundred_jobs_never_meet_and_no_device_is_lost(tmp_path: Path, kind: str) -> None:
    jobs = outcome(tmp_path, kind)
    most = most_on_a_device(jobs)
    assert most == 1, "two jobs were on one device, or more than the share"
    # A device that a kill had taken out of use would be missing towards the end, when jobs wait.
    served = sorted(
        (job["has"]["time"], job["has"]["devices"]) for job in jobs.values() if "has" in job
    )
    for some in (served[:50], served[-50:]):
        assert len({device for _, devices in some for device in devices}) == DEVICES


def test_jobs_with_all_sorts_of_wishes_never_meet_and_all_end(tmp_path: Path) -> None:
    most = most_on_a_device(outcome(tmp_path, "mixed"))
    assert most <= 1
    left = list((tmp_path / "leases").rglob("*.lock"))
    assert len(left) < 60, "locks pile up"


def test_loading_everything_asks_cuda_for_nothing() -> None:
    """The lease is taken after that; what CUDA may see must be settled before it is asked."""
    program = """
import importlib, pkgutil, torch

def asked(*arguments, **options):
    raise AssertionError("CUDA was asked for its devices")

for name in ("is_available", "device_count", "current_device", "_lazy_init"):
    setattr(torch.cuda, name, asked)
torch._C._cuda_getDeviceCount = asked
import starprompt.training.run, starprompt.method, baselines
for package in (starprompt.method, baselines):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
try:
    torch.cuda.is_available()
except AssertionError as error:
    print(error)
"""
    environ = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout == "CUDA was asked for its devices\n", done.stderr


@pytest.mark.parametrize("note", ["[" * 100_000, "[]", '{"pid": 1}', "\udcff"])
def test_a_holder_whose_note_is_damaged_still_holds(tmp_path: Path, note: str) -> None:
    ledger = Ledger(tmp_path)
    (tmp_path / "queue").mkdir()
    held = ledger.take(Wish(("GPU-1",), 1, 1), "training")
    beside = Path(held.locks[0].lock_file).with_suffix(".json")
    beside.write_bytes(note.encode(errors="surrogateescape"))
    (holder,) = ledger.holders("GPU-1")
    assert (holder.pid, holder.share) == (0, 1)
    give_back(held)


@pytest.mark.parametrize("note", ["[" * 100_000, "[]", '{"count": 1}'])
def test_a_damaged_wish_in_the_queue_is_passed_over(tmp_path: Path, note: str) -> None:
    ledger = Ledger(tmp_path)
    (tmp_path / "queue").mkdir()
    ticket, lock = ledger._join(Wish(("GPU-1",), 1, 1))
    ticket.with_suffix(".json").write_text(note)
    held = ledger.take(Wish(("GPU-1",), 1, 1))
    assert held.devices == ("GPU-1",)
    give_back(held)
    lock.release()


@pytest.mark.parametrize("folder", ["", "queue/"])
@pytest.mark.parametrize("name", ["abc", "fake0.abc", "fake0", "1 copy", "-3", "²", ".hidden"])
def test_foreign_files_are_passed_over(tmp_path: Path, folder: str, name: str) -> None:
    ledger = ledger_in(tmp_path)
    (ledger.folder / f"{folder}{name}.lock").write_text("")
    (ledger.folder / f"{folder}{name}.json").mkdir()
    held = ledger.take(Wish(("fake0",)))
    assert held.devices == ("fake0",)
    give_back(held)
    assert (ledger.folder / f"{folder}{name}.lock").exists()


def test_a_lock_of_another_device_whose_name_begins_alike_does_not_count(tmp_path: Path) -> None:
    ledger = ledger_in(tmp_path)
    other = ledger.take(Wish(("a.1",)))
    assert ledger.holders("a") == []
    assert len(ledger.holders("a.1")) == 1
    give_back(other)


def test_tickets_are_served_by_number_not_by_name(tmp_path: Path) -> None:
    """A number of more than ten digits stands after those of ten."""
    ledger = ledger_in(tmp_path)
    (ledger.folder / "queue" / f"{10**10 - 2}.lock").write_text("")
    first, lock = ledger._join(Wish(("a",)))
    second, other = ledger._join(Wish(("b",)))
    assert (first.stem, second.stem) == ("9999999999", "10000000000")
    assert ledger._waiting(second) == [Wish(("a",))]
    assert ledger._waiting(first) == []
    lock.release()
    other.release()


@pytest.mark.parametrize(
    "place",
    [
        "fake0.0.lock",
        "fake0.0.json",
        "mutex.lock",
        "queue/0000000001.lock",
        "queue/0000000001.json",
    ],
)
def test_a_folder_in_place_of_a_lock_or_note_is_named(tmp_path: Path, place: str) -> None:
    environ = {"STARPROMPT_LEASES": str(tmp_path), "STARPROMPT_FAKE_DEVICES": "1"}
    found = leases.leases_folder(environ) / place
    found.mkdir()
    with pytest.raises(UserError, match=rf"{found.name}.*Is a directory.*STARPROMPT_LEASES"):
        leases.lease(1, environ=environ)
    found.rmdir()
    held = leases.lease(1, environ=environ)
    assert held is not None
    give_back(held)


def test_a_folder_that_cannot_be_read_does_not_pass_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"STARPROMPT_LEASES": str(tmp_path), "STARPROMPT_FAKE_DEVICES": "1"}

    def refuse(folder: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"queue, by which .*Permission denied"):
        leases.lease(1, environ=environ)


def test_a_ticket_that_somebody_removed_is_no_error(tmp_path: Path) -> None:
    """Cleaners of /tmp remove files of days ago."""
    held = ledger_in(tmp_path).take(Wish(("a",)))
    waiting = Waiter(tmp_path, Wish(("a",)))
    for left in (ledger_in(tmp_path).folder / "queue").iterdir():
        left.unlink()
    give_back(held)
    give_back(waiting.served())
