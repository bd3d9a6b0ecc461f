"""The stand-ins for PyTorch's compiler, each in a process of its own: imports cannot be undone."""

import subprocess
import sys

LEFT_OUT = """
import sys
from starprompt.machine.without_compiler import is_left_out, leave_the_compiler_out
leave_the_compiler_out()
import torch
"""


def ran(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_libraries_and_optimisers_leave_the_compiler_out_until_something_is_compiled() -> None:
    ran(
        LEFT_OUT
        + """
import starprompt.training.run
for kind in (torch.optim.SGD, torch.optim.Adam):
    parameter = torch.nn.Parameter(torch.ones(3))
    optimiser = kind([parameter], lr=0.5)
    parameter.square().sum().backward()
    optimiser.step()
    optimiser.zero_grad()
    optimiser.load_state_dict(optimiser.state_dict())
assert is_left_out()
assert torch.allclose(parameter, torch.tensor(0.5)), "Adam's first step is the learning rate"

compiled = torch.compile(lambda x: 2 * x, backend="eager")
assert compiled(torch.ones(2)).tolist() == [2, 2]
assert not is_left_out()
import torch._dynamo.config
assert torch._dynamo.utils is sys.modules["torch._dynamo.utils"]
assert sys.modules["torch._dynamo"].__file__
"""
    )


def test_a_submodule_of_the_compiler_is_the_real_one() -> None:
    ran(
        LEFT_OUT
        + """
from torch._dynamo.utils import counters, is_compile_supported
assert not is_left_out()
assert is_compile_supported("cpu") in (True, False)
import torch._dynamo
assert torch._dynamo.utils.counters is counters
"""
    )


def test_what_asks_not_to_be_compiled_stays_as_it_is() -> None:
    ran(
        LEFT_OUT
        + """
def plain(x):
    return x
assert torch.compiler.disable(plain) is plain
assert torch.compiler.disable(recursive=False)(plain) is plain
assert is_left_out()
"""
    )


def test_a_compiler_that_is_there_stays() -> None:
    ran(
        """
import torch._dynamo
real = torch._dynamo
from starprompt.machine.without_compiler import is_left_out, leave_the_compiler_out
leave_the_compiler_out()
import sys
assert sys.modules["torch._dynamo"] is real and not is_left_out()
"""
    )
