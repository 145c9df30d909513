"""Work (b) in torch: torch.func with all tasks batched; TorchOpt and higher, task after task."""

from collections.abc import Callable, Iterable

import torch

from benchmarks import maml, torch_jobs
from benchmarks.timing import Job

NAMES = {
    "torch.func": "torch.func, vmap over tasks",
    "torchopt": "TorchOpt, MetaSGD",
    "higher": "higher, innerloop_ctx",
}


def flat(gradients: Iterable[torch.Tensor]) -> torch.Tensor:
    """One row, in the order weights, bias, layer by layer."""
    return torch.cat([gradient.reshape(-1) for gradient in gradients])[None]


def torch_func(inner_steps: int) -> Callable[[], torch.Tensor]:
    """Pure functions: `grad` inside `vmap` inside `grad`."""
    params = tuple(torch_jobs.tensor(array) for layer in maml.network() for array in layer)
    tasks = tuple(torch_jobs.tensor(array) for array in maml.sinusoids())

    def error(params: tuple, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        w1, b1, w2, b2, w3, b3 = params
        hidden = torch.tanh(x @ w1 + b1)
        hidden = torch.tanh(hidden @ w2 + b2)
        return torch.mean((hidden @ w3 + b3 - y) ** 2)

    def after(params: tuple, *task: torch.Tensor) -> torch.Tensor:
        for _ in range(inner_steps):
            gradients = torch.func.grad(error)(params, *task[:2])
            params = tuple(p - maml.STEP_SIZE * g for p, g in zip(params, gradients, strict=True))
        return error(params, *task[2:])

    def mean(params: tuple) -> torch.Tensor:
        in_dims = (None, 0, 0, 0, 0)
        return torch.func.vmap(after, in_dims=in_dims)(params, *tasks).mean()

    return lambda: flat(torch.func.grad(mean)(params))


class Network(torch.nn.Module):
    """The same network as a module; its parameters are matrices as in `maml.network`."""

    def __init__(self) -> None:
        super().__init__()
        arrays = (array for layer in maml.network() for array in layer)
        self.layers = torch.nn.ParameterList(torch_jobs.tensor(array) for array in arrays)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The mean squared error."""
        w1, b1, w2, b2, w3, b3 = self.layers
        hidden = torch.tanh(x @ w1 + b1)
        hidden = torch.tanh(hidden @ w2 + b2)
        return torch.mean((hidden @ w3 + b3 - y) ** 2)


def torchopt_maml(inner_steps: int) -> Callable[[], torch.Tensor]:
    """`MetaSGD`, as in TorchOpt's few-shot example: state is extracted and put back."""
    import torchopt

    net = Network()
    tasks = [torch_jobs.tensor(array) for array in maml.sinusoids()]

    def gradient() -> torch.Tensor:
        optimizer = torchopt.MetaSGD(net, lr=maml.STEP_SIZE)
        starts = [torchopt.extract_state_dict(part, by="reference") for part in (net, optimizer)]
        leaves = list(net.parameters())
        total = [torch.zeros_like(leaf) for leaf in leaves]
        for task in zip(*tasks, strict=True):
            for _ in range(inner_steps):
                optimizer.step(net(*task[:2]))
            for sum_, part in zip(total, torch.autograd.grad(net(*task[2:]), leaves), strict=True):
                sum_ += part / maml.TASKS
            for part, start in zip((net, optimizer), starts, strict=True):
                torchopt.recover_state_dict(part, start)
        return flat(total)

    return gradient


def higher_maml(inner_steps: int) -> Callable[[], torch.Tensor]:
    """`innerloop_ctx` with the initial weights kept, as in higher's MAML example."""
    import higher

    net = Network()
    sgd = torch.optim.SGD(net.parameters(), lr=maml.STEP_SIZE)
    tasks = [torch_jobs.tensor(array) for array in maml.sinusoids()]

    def gradient() -> torch.Tensor:
        leaves = list(net.parameters())
        total = [torch.zeros_like(leaf) for leaf in leaves]
        for task in zip(*tasks, strict=True):
            with higher.innerloop_ctx(net, sgd, copy_initial_weights=False) as (run, optimizer):
                for _ in range(inner_steps):
                    optimizer.step(run(*task[:2]))
                parts = torch.autograd.grad(run(*task[2:]), leaves)
            for sum_, part in zip(total, parts, strict=True):
                sum_ += part / maml.TASKS
        return flat(total)

    return gradient


def job(package: str, inner_steps: int) -> Job:
    """The MAML gradient over all tasks."""
    makers = {"torch.func": torch_func, "torchopt": torchopt_maml, "higher": higher_maml}
    return torch_jobs.job(NAMES[package], makers[package](inner_steps))
