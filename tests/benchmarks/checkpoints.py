"""What a checkpoint costs: save and inherit beside raw bytes and torch's own save and load.

The raw bytes are those of the file that torch writes. They are written, synchronised to the disk
and read; and once more with a SHA-256 digest of what is written, and of what is read, which is what
`save` and `inherit` promise. `torch.save` does not synchronise, and neither it nor `torch.load`
verifies anything.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import optuna
import torch

from epbt_optuna import CheckpointStore, EPBTSampler
from tests.benchmarks.measure import figures, seconds
from tests.benchmarks.table import Case, Table

N_TENSORS = 8

WHOLES = {
    "write + fsync + read": ("write + fsync", "read"),
    "the same, digested twice": ("write + fsync + digest", "read + digest"),
    "save + inherit": ("save", "inherit"),
    "torch.save + load": ("torch.save", "torch.load"),
}


def write_bytes(path: Path, content: bytes, *, digest: bool = False) -> None:
    if digest:
        sha256(content).hexdigest()
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_bytes(path: Path) -> None:
    sha256(path.read_bytes()).hexdigest()


class Checkpoints:
    """One study, each trial of which inherits and saves a state of so many bytes."""

    def __init__(self, folder: Path, n_bytes: int) -> None:
        n_floats = n_bytes // 4 // N_TENSORS
        self.state = {f"layer{i}": torch.randn(n_floats) for i in range(N_TENSORS)}
        self.store = CheckpointStore(folder / "store")
        self.study = optuna.create_study(sampler=EPBTSampler(2, n_elites=0, seed=0))
        self.raw, self.plain = folder / "raw", folder / "plain.pt"
        torch.save(self.state, self.plain)
        self.content = self.plain.read_bytes()
        for _ in range(2):  # the founders, which inherit nothing
            self.begin()
            self.save()
            self.end()

    def begin(self) -> None:
        self.trial = self.study.ask()

    def inherit(self) -> None:
        self.store.inherit(self.trial)

    def save(self) -> None:
        self.store.save(self.trial, self.state)

    def end(self) -> None:
        self.study.tell(self.trial, 0.0)
        self.store.collect(self.study)


def bench_checkpoints(quick: bool) -> Table:
    """Time 2, 20 and 100 MB."""
    sizes = {1: 2} if quick else {2: 100, 20: 40, 100: 20}
    cases = []
    for n_megabytes, n in sizes.items():
        with tempfile.TemporaryDirectory() as folder:
            own = Checkpoints(Path(folder), n_megabytes * 1_000_000)
            calls: dict[str, Callable[[], object]] = {
                "write + fsync": partial(write_bytes, own.raw, own.content),
                "write + fsync + digest": partial(write_bytes, own.raw, own.content, digest=True),
                "save": own.save,
                "torch.save": partial(torch.save, own.state, own.plain),
                "read": own.raw.read_bytes,
                "read + digest": partial(read_bytes, own.raw),
                "inherit": own.inherit,
                "torch.load": partial(torch.load, own.plain, weights_only=True),
            }
            times: dict[str, list[float]] = {name: [] for name in calls}
            for turn in range(-1, n):
                own.begin()
                for name, call in calls.items():
                    spent = seconds(call)
                    if turn >= 0:
                        times[name].append(spent)
                own.end()
        wholes = {
            whole: [sum(both) for both in zip(*(times[part] for part in parts), strict=True)]
            for whole, parts in WHOLES.items()
        }
        cases.append(Case(f"{n_megabytes} MB", "ms", figures({**wholes, **times}, 1e3)))
    over = dict.fromkeys(WHOLES, "write + fsync + read")
    writing = ["write + fsync", "write + fsync + digest", "save", "torch.save"]
    over |= dict.fromkeys(writing, "write + fsync")
    over |= dict.fromkeys(["read", "read + digest", "inherit", "torch.load"], "read")
    return Table("A checkpoint, saved and inherited", tuple(cases), over)


BENCHMARKS = {"checkpoints": bench_checkpoints}
