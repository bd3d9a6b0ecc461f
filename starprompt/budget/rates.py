"""How fast a machine is taken to be, and what a process holds there: the numbers of a forecast
that are no arithmetic, each with where it is from."""

from dataclasses import dataclass

from starprompt.budget.networks import FLOAT, HALF
from starprompt.config.experiment import Config

TERA, GIGA, MEGA = 1e12, 1e9, 1e6

#: Sustained TFLOP/s of large matrix products inside a training step on one GPU. bf16: half of the
#: 600 or so that an H100's tensor cores reach on large products, the share that the second-stage
#: step is built for; tf32 and float32 in the proportion of the card's data sheet. Not measured.
GPU_RATE = {"bf16": 300.0, "tf32": 120.0, "float32": 30.0}
#: the same for one CPU thread: the tiny pair's step, by benchmarks/matmul_ceiling.py
CPU_RATE = 0.03
#: under bf16 the text encoder stays float32 and runs in TF32, at this part of the rate
TEXT_RATE = GPU_RATE["tf32"] / GPU_RATE["bf16"]
#: seconds that the host takes to give the device one piece of work
LAUNCH_SECONDS = 8e-6
#: pieces of work in one block's forward pass; a backward pass has twice as many
KERNELS_A_BLOCK = 16
#: images that one host thread gathers from the memory map a second, at 256 x 256
IMAGES_A_SECOND = 10_000
#: from `starprompt run` to the first step: imports, weights, checks
STARTUP_SECONDS = {"cuda": 60.0, "cpu": 8.0}
#: bytes a process holds before any weight or image: Python, torch, and CUDA's own on the host
PROCESS_BYTES = {"cuda": 4.0 * GIGA, "cpu": 1.0 * GIGA}
#: bytes that CUDA, its libraries and their workspaces take on the device
CONTEXT_BYTES = 0.8 * GIGA


@dataclass(frozen=True)
class Machine:
    """Where a run computes, as far as its cost goes."""

    gpu: bool
    rate: float
    element: int

    @classmethod
    def of(cls, config: Config, rate: float | None) -> "Machine":
        """The machine of an experiment; ``rate`` in TFLOP/s, None for the device's usual one."""
        gpu = config.device == "cuda" or (config.device == "auto" and config.gpu > 0)
        default = GPU_RATE[config.precision] if gpu else CPU_RATE * config.threads
        element = HALF if gpu and config.precision == "bf16" else FLOAT
        return cls(gpu, (rate or default) * TERA, element)

    @property
    def startup(self) -> float:
        """Seconds from the command to the first step."""
        return STARTUP_SECONDS["cuda" if self.gpu else "cpu"]

    def host(self, device_bytes: float, weights: float) -> float:
        """Peak bytes of the process: on a CPU all that the run holds, beside a GPU the weights on
        their way (read from the file and built) and what waits to be copied."""
        base = PROCESS_BYTES["cuda" if self.gpu else "cpu"]
        return base + (2 * weights if self.gpu else device_bytes)


def default_rate(config: Config) -> float:
    """TFLOP/s that are taken to be sustained on the configuration's device."""
    return Machine.of(config, None).rate / TERA
