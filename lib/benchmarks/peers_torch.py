"""Work (a) in torch: torch.func, TorchOpt, higher.

torch.func batches the step sizes by `vmap`, forward and in reverse, and gets the gradient A x by
hand, as ours does. TorchOpt and higher take no batch of step sizes: they run some, and are scaled.
"""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks import torch_jobs
from benchmarks.step_sizes import COUNT, Problem
from benchmarks.timing import Job

NAMES = {
    "torch.func jvp": "torch.func, vmap of jvp",
    "torch.func grad": "torch.func, vmap of grad",
    "torchopt": "TorchOpt, FuncOptimizer",
    "higher": "higher, innerloop_ctx",
}


def torch_func(data: Problem, inner_steps: int, forward: bool) -> Callable[[], torch.Tensor]:
    """All step sizes at once."""
    matrix, start, step_sizes = (torch_jobs.tensor(array) for array in data)

    def final(step_size: torch.Tensor) -> torch.Tensor:
        x = start
        for _ in range(inner_steps):
            x = x - step_size * (matrix @ x)
        return 0.5 * torch.dot(x, matrix @ x)

    def tangent(step_size: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(final, (step_size,), (torch.ones_like(step_size),))[1]

    one = tangent if forward else torch.func.grad(final)
    return lambda: torch.func.vmap(one)(step_sizes)


def torchopt_one(data: Problem, inner_steps: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """One step size, with TorchOpt's functional optimizer."""
    import torchopt

    matrix, start = torch_jobs.tensor(data.matrix), torch_jobs.tensor(data.start)

    def derivative(step_size: torch.Tensor) -> torch.Tensor:
        step_size = step_size.clone().requires_grad_()
        optimizer = torchopt.FuncOptimizer(torchopt.sgd(lr=step_size))
        params = (start.clone().requires_grad_(),)
        for _ in range(inner_steps):
            loss = 0.5 * torch.dot(params[0], matrix @ params[0])
            params = optimizer.step(loss, params)
        final = 0.5 * torch.dot(params[0], matrix @ params[0])
        return torch.autograd.grad(final, step_size)[0]

    return derivative


def higher_one(data: Problem, inner_steps: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """One step size, with higher's override of the learning rate."""
    import higher

    matrix, start = torch_jobs.tensor(data.matrix), torch_jobs.tensor(data.start)

    class Bowl(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = torch.nn.Parameter(start.clone())

        def forward(self) -> torch.Tensor:
            return 0.5 * torch.dot(self.x, matrix @ self.x)

    def derivative(step_size: torch.Tensor) -> torch.Tensor:
        step_size = step_size.clone().requires_grad_()
        bowl = Bowl()
        sgd = torch.optim.SGD(bowl.parameters(), lr=1.0)
        with higher.innerloop_ctx(bowl, sgd, override={"lr": [step_size]}) as (run, optimizer):
            for _ in range(inner_steps):
                optimizer.step(run())
            return torch.autograd.grad(run(), step_size)[0]

    return derivative


def job(package: str, data: Problem, inner_steps: int, timed: int) -> Job:
    """The derivatives by a torch package; those that take no batch do the first `timed` ones."""
    name = NAMES[package]
    if package.startswith("torch.func"):
        return torch_jobs.job(name, torch_func(data, inner_steps, package.endswith("jvp")))
    one = {"torchopt": torchopt_one, "higher": higher_one}[package](data, inner_steps)
    step_sizes = torch_jobs.tensor(np.asarray(data.step_sizes[:timed]))
    return torch_jobs.job(
        name, lambda: torch.stack([one(step_size) for step_size in step_sizes]), timed / COUNT
    )
