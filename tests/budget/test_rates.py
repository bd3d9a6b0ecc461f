"""How fast a machine is taken to be."""

from pathlib import Path

import pytest

from starprompt.budget.networks import FLOAT, HALF
from starprompt.budget.rates import CPU_RATE, GPU_RATE, PROCESS_BYTES, Machine, default_rate
from starprompt.config.experiment import load_config
from tests.helpers.forecasts import changed

PAPER = load_config(Path("config/paper.yaml"))


def test_the_rate_is_that_of_the_device_and_the_precision() -> None:
    cpu = changed(PAPER, device="cpu", gpu=0, threads=4, precision="float32")
    assert default_rate(cpu) == pytest.approx(4 * CPU_RATE)
    gpu = changed(PAPER, device="cuda", gpu=1, precision="bf16")
    assert default_rate(gpu) == pytest.approx(GPU_RATE["bf16"])
    assert (Machine.of(cpu, None).element, Machine.of(gpu, None).element) == (FLOAT, HALF)
    assert Machine.of(gpu, 5.0).rate == 5e12


def test_a_run_on_a_cpu_lies_in_the_process_and_beside_a_gpu_only_its_weights() -> None:
    cpu = Machine.of(changed(PAPER, device="cpu", gpu=0, precision="float32"), None)
    gpu = Machine.of(changed(PAPER, device="cuda", gpu=1, precision="bf16"), None)
    assert cpu.host(7e9, 1e9) == PROCESS_BYTES["cpu"] + 7e9
    assert gpu.host(7e9, 1e9) == PROCESS_BYTES["cuda"] + 2e9
    assert gpu.startup > cpu.startup
