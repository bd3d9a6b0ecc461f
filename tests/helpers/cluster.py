"""A real SLURM of one node on loopback, with four GPUs that are none, in a folder of its own.

    python tests/slurm/cluster.py FOLDER      start one, stop it with Ctrl-C

Debian's munge, slurmctld and slurmd are started directly, without systemd, cgroups or a database.
One cluster at a time on a machine: commands inside a job lose ``SLURM_CONF``, so that
``/etc/slurm/slurm.conf`` must lead to the same file. One that is not ours is never touched.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

SYSTEM_CONF = Path("/etc/slurm/slurm.conf")
OURS = "# a cluster of starprompt's tests\n"
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
GPUS = 4
#: every process that stems from a cluster carries its folder under this name
MARK = "STARPROMPT_TEST_CLUSTER"
#: Debian keeps the daemons where the search path of a plain user does not look
PATHS = ("/usr/sbin", "/usr/local/sbin", "/sbin")

CONF = """\
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
CryptoType=crypto/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MpiDefault=none
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,sched_interval=2,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
OverTimeLimit=0
KillWait=10
MinJobAge=300
InactiveLimit=0
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:fake:{gpus} State=UNKNOWN
PartitionName=main   Nodes={host} Default=YES MaxTime=INFINITE DefMemPerCPU=500 PriorityTier=1
PartitionName=urgent Nodes={host} Default=NO  MaxTime=INFINITE DefMemPerCPU=500 PriorityTier=10
"""


class NoClusterError(Exception):
    """Why no cluster can be started here."""


def install() -> None:
    """Install Debian's packages where they are missing.

    Raises :class:`NoClusterError` when that is not to be done here.
    """
    missing = [program for program in PROGRAMS if _which(program) is None]
    if not missing:
        return
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        raise NoClusterError(
            f"SLURM is not installed ({', '.join(missing)} not found) and "
            f"{'this is no Debian' if apt is None else 'only root may install it'}"
        )
    quietly = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 300}
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        [apt, "update", "-q"],
        [apt, "install", "-y", "-q", "--no-install-recommends", *PACKAGES],
    ):
        try:
            done = subprocess.run(command, env=environment, check=False, **quietly)
        except subprocess.TimeoutExpired:
            raise NoClusterError(f"{' '.join(command)} did not end in five minutes") from None
        if done.returncode:
            raise NoClusterError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


class Cluster:
    """The daemons of one cluster; its folder holds all that they write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.conf = self.folder / "slurm.conf"
        self.host = socket.gethostname().split(".")[0]
        path = os.pathsep.join([os.environ.get("PATH", ""), *PATHS])
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SLURM", "SBATCH", "SRUN", "SNAKEMAKE", "STARPROMPT"))
        } | {"PATH": path, "SLURM_CONF": str(self.conf), MARK: str(self.folder)}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything; returns when the node takes jobs."""
        for name in ("run", "log", "state", "spool", "dev"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "run").chmod(0o755)
        for gpu in range(GPUS):
            # SLURM hands out devices that are character devices; these are /dev/null.
            try:
                os.mknod(self.folder / f"dev/fakegpu{gpu}", 0o666 | 0o020000, os.makedev(1, 3))
            except PermissionError:  # a container without the right to
                raise NoClusterError("no device files may be made here") from None
        ports = _free_ports(2)
        text = CONF.format(host=self.host, folder=self.folder, ports=ports, gpus=GPUS)
        self.conf.write_text(OURS + text)
        devices = f"{self.folder}/dev/fakegpu[0-{GPUS - 1}]"
        (self.folder / "gres.conf").write_text(
            f"NodeName={self.host} Name=gpu Type=fake File={devices}\n"
        )
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o600)
        _link_system_conf(self.conf)
        self._start("munged", *self._munge_options(), "--foreground")
        _until(lambda: (self.folder / "run/munge.socket").exists(), "munged did not start")
        self.start_controller(clean=True)
        self.start_node()

    def start_controller(self, clean: bool = False) -> None:
        """Start slurmctld: ``clean`` without the state that an earlier one saved."""
        self._start("slurmctld", "-D", "-f", str(self.conf), *(["-c"] if clean else []))
        _until(lambda: self.call("scontrol", "ping").returncode == 0, "slurmctld did not answer")

    def kill_controller(self) -> None:
        """SIGKILL slurmctld, as when its machine fails."""
        self._kill("slurmctld")

    def start_node(self) -> None:
        """Start slurmd, as when the node's machine boots; it takes jobs when this returns."""
        self._start("slurmd", "-D", "-f", str(self.conf), "-N", self.host)
        _until(lambda: self.node_state().startswith("IDLE"), "the node never became idle")

    def kill_node(self, *jobs: str) -> None:
        """SIGKILL slurmd and all processes of its jobs, as when the node's machine fails."""
        self._kill("slurmd")
        marks = {f"SLURM_JOB_ID={job}".encode() for job in jobs}
        for process, words in self.processes().items():
            with contextlib.suppress(OSError):
                environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
                if words.startswith("slurmstepd:") or marks.intersection(environment):
                    os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        """Cancel what runs, stop the daemons by their process ids, take the link away."""
        if "slurmctld" in self._daemons:
            self.call("scancel", "--user=root")
            with contextlib.suppress(TimeoutError):
                _until(lambda: not self.call("squeue", "-h").stdout.strip(), "jobs go on", 20)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()
        if _is_ours(SYSTEM_CONF):
            SYSTEM_CONF.unlink()

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a SLURM command and wait for it."""
        return subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def node_state(self) -> str:
        """As ``scontrol show node`` says it: IDLE, MIXED, DOWN ..."""
        shown = self.call("scontrol", "show", "node", self.host).stdout
        return next((w[6:] for w in shown.split() if w.startswith("State=")), "")

    def processes(self) -> dict[int, str]:
        """Command lines, by process id, of all that stems from this cluster and still lives."""
        mark = f"{MARK}={self.folder}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    if any(words):  # an ended process that nobody waited for has none
                        found[int(folder.name)] = b" ".join(words).decode(errors="replace")
            except OSError:
                continue
        return {pid: words for pid, words in found.items() if pid != os.getpid()}

    def is_on_node(self, job: str) -> bool:
        """Whether slurmd still has steps of a job: started again now, it would drain the node."""
        return any(f"slurmstepd: [{job}." in words for words in self.processes().values())

    def _munge_options(self) -> list[str]:
        folder = self.folder
        return [
            "--force",
            f"--key-file={folder}/munge.key",
            f"--socket={folder}/run/munge.socket",
            f"--pid-file={folder}/run/munged.pid",
            f"--log-file={folder}/log/munged.log",
            f"--seed-file={folder}/run/munged.seed",
        ]

    def _kill(self, program: str) -> None:
        daemon = self._daemons.pop(program)
        daemon.kill()
        daemon.wait()

    def _start(self, program: str, *arguments: str) -> None:
        path = _which(program)
        assert path is not None, program
        log = (self.folder / "log" / f"{program}.out").open("ab")
        self._daemons[program] = subprocess.Popen(
            [path, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster for the length of a block; waits for another one on this machine.

    Raises :class:`NoClusterError` where none can be.
    """
    install()
    if os.geteuid() != 0:
        raise NoClusterError("slurmd starts jobs only as root")
    if (SYSTEM_CONF.exists() or SYSTEM_CONF.is_symlink()) and not _is_ours(SYSTEM_CONF):
        raise NoClusterError(f"{SYSTEM_CONF} belongs to another SLURM")
    with FileLock("/tmp/starprompt-test-cluster.lock", timeout=600):
        cluster = Cluster(folder)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def _is_ours(path: Path) -> bool:
    """A link that a cluster of the tests made, of this or of an earlier, killed session."""
    if not path.is_symlink():
        return False
    try:
        return path.read_text().startswith(OURS)
    except FileNotFoundError:  # that session's folder is gone
        return path.readlink().name == "slurm.conf" and "slurm-cluster" in str(path.readlink())


def _link_system_conf(conf: Path) -> None:
    SYSTEM_CONF.parent.mkdir(exist_ok=True)
    if _is_ours(SYSTEM_CONF):
        SYSTEM_CONF.unlink()
    SYSTEM_CONF.symlink_to(conf)


def _which(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=os.pathsep.join(PATHS))


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the first
        signal.signal(number, signal.default_int_handler)
    started = time.monotonic()
    with running(Path(sys.argv[1])) as cluster:
        seconds = time.monotonic() - started
        print(f"SLURM_CONF={cluster.conf} after {seconds:.1f} s", flush=True)  # noqa: T201
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
