"""A step of training of P networks: one after the other, in several processes, as one."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from epbt_optuna import TaylorGLOLoss, batched
from examples.paper.models import Shape, make_network
from tests.benchmarks.gpu.device import device, rates, synchronized, those_that_run, timed
from tests.benchmarks.loss import THETA
from tests.benchmarks.table import Case, Figure, Table

N_CLASSES = 10
N_PROCESSES = 4
STEPS_OF_A_ROUND = {"mlp": 10, "cnn": 10, "resnet32": 2}
"""Of processes that begin together: so many that beginning takes no time beside them."""
TIMEOUT = 600.0
SHAPES: dict[str, Shape] = {"mlp": (1, 8, 8), "cnn": (3, 32, 32), "resnet32": (3, 32, 32)}
TURNS = {"mlp": 20, "cnn": 20, "resnet32": 5}
"""How often each way is timed: less often what takes longer."""
BASE = "loop, fp32"

Step = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """What trains how.

    Attributes:
        model: A key of `examples.paper.models.MODELS`.
        batch_size: Images in a step of one network.
        n_members: Networks, P.
        precision: `"fp32"`, or `"bf16"` by autocast.
        channels_last: Whether images and weights are laid out with the channels last.
    """

    model: str
    batch_size: int
    n_members: int
    precision: str = "fp32"
    channels_last: bool = False

    def build(self) -> nn.Module:
        return make_network(self.model, SHAPES[self.model], N_CLASSES).to(device())

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.randn(self.batch_size, *SHAPES[self.model], device=device())
        labels = torch.randint(N_CLASSES, (self.batch_size,), device=device())
        return self.laid_out(images), labels

    def laid_out(self, thing: Any) -> Any:
        return thing.to(memory_format=torch.channels_last) if self.channels_last else thing

    def precise(self) -> AbstractContextManager[object]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(device(), torch.bfloat16)


def loop(setting: Setting) -> Step:
    """Return a step of each network, one after the other."""
    images, labels = setting.batch()
    networks = [setting.laid_out(setting.build()) for _ in range(setting.n_members)]
    optimizers = [torch.optim.SGD(n.parameters(), lr=1e-3, momentum=0.9) for n in networks]
    loss_fn = TaylorGLOLoss(THETA).to(device())

    def step() -> None:
        for network, optimizer in zip(networks, optimizers, strict=True):
            with setting.precise():
                loss = loss_fn(network(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return step


def as_one(setting: Setting) -> Step:
    """Return a step of all networks as one."""
    images, labels = setting.batch()
    stack = batched.stack(setting.build, setting.n_members)
    # As tensors, since a CUDA graph cannot take numbers from the CPU.
    lr, momentum = (torch.full((setting.n_members,), x, device=device()) for x in (1e-3, 0.9))
    optimizer = batched.SGD(stack.parameters(), lr=lr, momentum=momentum)
    loss_fn = TaylorGLOLoss(torch.tensor(THETA).expand(setting.n_members, 8)).to(device())

    def step() -> None:
        with setting.precise():
            losses = loss_fn(stack(images), labels)
        losses.sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def graphed(make: Callable[[Setting], Step], setting: Setting) -> Step:
    """Return a step that is replayed as one CUDA graph."""
    step = make(setting)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is made once must not become a part of the graph
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    kept = graph, step  # the graph reads and writes tensors that only the step holds

    def replay() -> None:
        kept[0].replay()

    return replay


def be_one_of_several(setting: Setting, n: int, barrier: Any, spans: Any) -> None:
    """Run steps in `n` rounds, each of which all processes begin together."""
    torch.set_num_threads(1)
    step = loop(setting)

    def steps() -> None:
        for _ in range(STEPS_OF_A_ROUND[setting.model]):
            step()

    synchronized(steps)
    for _ in range(n):
        barrier.wait()
        start = time.time()
        synchronized(steps)
        spans.put((start, time.time()))


def processes(setting: Setting, n: int) -> list[float]:
    """Return the seconds of a step of all networks, which several processes share out evenly."""
    n_processes = max(k for k in range(1, N_PROCESSES + 1) if setting.n_members % k == 0)
    context = multiprocessing.get_context("spawn")
    share = replace(setting, n_members=setting.n_members // n_processes)
    barrier, spans = context.Barrier(n_processes), context.Queue()
    workers = [
        context.Process(target=be_one_of_several, args=(share, n, barrier, spans), daemon=True)
        for _ in range(n_processes)
    ]
    for worker in workers:
        worker.start()
    # Nobody begins a round before all have ended the last, so starts in order are rounds in order.
    found = sorted(spans.get(timeout=TIMEOUT) for _ in range(n * n_processes))
    for worker in workers:
        worker.join()
    rounds = [found[i : i + n_processes] for i in range(0, len(found), n_processes)]
    return [
        (max(end for _, end in own) - min(start for start, _ in own))
        / STEPS_OF_A_ROUND[setting.model]
        for own in rounds
    ]


def flops_of_a_sample(setting: Setting) -> float:
    """Count what one network computes for one image, forward and backward."""
    step = loop(replace(setting, n_members=1))
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops()) / setting.batch_size


def bench_training(model: str, small: bool) -> Table:
    """Measure samples a second, all networks together, and the share of the matrix rate."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False  # as for matrix products, where that is the default
    sizes, batch_size, n = ((1, 2), 4, 2) if small else ((1, 10, 20, 40), 128, TURNS[model])
    cases = []
    for n_members in sizes:
        plain = Setting(model, batch_size, n_members)
        half = replace(plain, precision="bf16")
        ways: dict[str, Callable[[], Step]] = {
            BASE: partial(loop, plain),
            "loop, bf16": partial(loop, half),
            "loop, bf16, channels last": partial(loop, replace(half, channels_last=True)),
            "loop, bf16, CUDA graph": partial(graphed, loop, half),
            "batched, fp32": partial(as_one, plain),
            "batched, bf16": partial(as_one, half),
            "batched, fp32, CUDA graph": partial(graphed, as_one, plain),
            "batched, bf16, CUDA graph": partial(graphed, as_one, half),
        }
        if device() == "cpu":
            ways = {name: way for name, way in ways.items() if "CUDA" not in name}
        if model == "mlp":
            ways = {name: way for name, way in ways.items() if "channels" not in name}
        times = timed(those_that_run(ways), n, n_warm=1)
        if n_members > 1:
            times[f"up to {N_PROCESSES} processes, fp32"] = processes(plain, n)
        n_samples = n_members * batch_size
        speeds = {way: [n_samples / spent for spent in own] for way, own in times.items()}
        figures = {way: Figure.of(own) for way, own in speeds.items()}
        cases.append(Case(f"P = {n_members}", "samples/s", figures))
    shares = {}
    for way, own in speeds.items():
        best = rates(small).product("bf16" if "bf16" in way else "fp32")
        share = 100 * flops_of_a_sample(plain) / best
        shares[way] = Figure.of(share * speed for speed in own)
    cases.append(Case(f"P = {n_members}: of the matrix rate", "%", shares))
    return Table(
        f"Training P networks, {model}, batch {batch_size}, with TaylorGLO",
        tuple(cases),
        over=dict.fromkeys((way for case in cases for way in case.figures), BASE),
    )


BENCHMARKS = {f"gpu-{model}": partial(bench_training, model) for model in SHAPES}
