"""GPUs and their parts, as `nvidia-smi` lists them and a process sees them."""

import pytest

from starprompt.machine import leases
from starprompt.machine.gpus import Gpu, parse_listing, visible
from tests.helpers.gpu_listing import LISTING

FIRST, PARTS, LAST = "GPU-aaaa0000-1111", ["MIG-cccc-1", "MIG-cccc-2"], "GPU-dddd0000-3333"


def test_the_listing_is_read_with_the_parts_of_a_gpu() -> None:
    assert parse_listing(LISTING) == [
        Gpu(FIRST),
        Gpu("GPU-aabb0000-2222", tuple(PARTS)),
        Gpu(LAST),
    ]
    assert parse_listing("No devices found.\n") == []


@pytest.mark.usefixtures("with_gpus")
@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, [FIRST, *PARTS, LAST]),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, [LAST, FIRST]),
        ({"CUDA_VISIBLE_DEVICES": " 0 , 0"}, [FIRST]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,2"}, [FIRST]),
        ({"CUDA_VISIBLE_DEVICES": "7"}, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        ({"CUDA_VISIBLE_DEVICES": LAST}, [LAST]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-dd,GPU-aaaa"}, [LAST, FIRST]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-aa"}, []),  # the beginning of two
        ({"CUDA_VISIBLE_DEVICES": "MIG-cccc-2"}, ["MIG-cccc-2"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, PARTS),
        ({"SLURM_JOB_GPUS": "0,2"}, [FIRST, LAST]),
        ({"SLURM_STEP_GPUS": "2", "SLURM_JOB_GPUS": "0,2"}, [LAST]),
        ({"SLURM_JOB_GPUS": "4,5,6"}, [FIRST, *PARTS, LAST]),  # the cluster hides all others
        ({"SLURM_JOB_GPUS": "2", "CUDA_VISIBLE_DEVICES": "0"}, [FIRST]),
        ({"STARPROMPT_FAKE_DEVICES": "2"}, ["fake0", "fake1"]),
        ({"STARPROMPT_FAKE_DEVICES": "4", "CUDA_VISIBLE_DEVICES": "3,1"}, ["fake3", "fake1"]),
        ({"STARPROMPT_FAKE_DEVICES": "12", "CUDA_VISIBLE_DEVICES": "fake1"}, ["fake1"]),
    ],
)
def test_what_a_process_sees(environ: dict[str, str], expected: list[str]) -> None:
    assert visible(environ) == expected


def test_without_nvidia_smi_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert visible({}) == []
    environ: dict[str, str] = {}
    assert leases.lease(1, environ=environ) is None
    assert environ == {}


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_Process", type("_Process", (leases._Process,), {}))
