"""One of two processes that run docs/checkpoints.md's recipe for distributed training.

`python -m tests.integration.distributed FOLDER RANK`; writes out what this rank had inherited in
each trial, as JSON.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import optuna
import torch
import torch.distributed as dist

from epbt_optuna import CheckpointStore, EPBTSampler

PAGE = Path(__file__).parents[2] / "docs" / "checkpoints.md"


class TorchDistributedTrial:
    """What the recipe needs of optuna-integration's, where that is not installed."""

    def __init__(self, trial: optuna.Trial | None) -> None:
        self._delegate = trial

    def suggest_float(self, *args: Any, **options: Any) -> Any:
        value = [self._delegate.suggest_float(*args, **options) if self._delegate else None]
        dist.broadcast_object_list(value)
        return value[0]


def recipe() -> str:
    section = PAGE.read_text(encoding="utf-8").split("## Distributed training")[1]
    (code,) = re.findall(r"```python\n(.*?)```", section.split("\n## ")[0], re.DOTALL)
    return str(code)


def main(folder: Path, rank: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    if importlib.util.find_spec("optuna_integration") is None:
        module: Any = types.ModuleType("optuna_integration")
        module.TorchDistributedTrial = TorchDistributedTrial
        sys.modules[module.__name__] = module
    method = f"file://{folder / 'rendezvous'}"
    dist.init_process_group("gloo", init_method=method, rank=rank, world_size=2)
    began_with: list[float] = []

    def train(network: Any, lr: float) -> float:
        weight = network.module.weight
        began_with.append(float(weight))
        network(torch.tensor([[float(rank)]])).sum().backward()  # mean gradient of the ranks: ½
        with torch.no_grad():
            weight += lr + weight.grad
        return float(weight)

    def build() -> torch.nn.Module:
        network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(network.weight)
        return network

    # Rank 0 alone has the checkpoints: the other one has a folder that nobody else reads.
    checkpoints = CheckpointStore(folder / f"checkpoints of rank {rank}")
    names: dict[str, Any] = {"checkpoints": checkpoints, "build": build, "train": train}
    exec(compile(recipe(), str(PAGE), "exec"), names)
    sampler = EPBTSampler(2, n_elites=1, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler) if rank == 0 else None
    names["run"](study, 6)
    sys.stdout.write(json.dumps(began_with))
    failure = None
    try:
        names["on_rank_0"](checkpoints.load, study and study.ask())
    except RuntimeError as error:
        failure = str(error)
    assert failure == "Trial 6 saved no checkpoint.", failure
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
