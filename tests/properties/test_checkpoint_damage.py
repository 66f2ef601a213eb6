"""Bytes that are damaged or hostile end in the state that was saved or in a `CheckpointError`.

The digest in a trial's record catches every change. A hostile writer would record the digest of
what he wrote: so what reads the bytes is tested behind a digest that fits them, too.
"""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import re
import struct
import subprocess
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from epbt_optuna import CheckpointError, CheckpointStore
from epbt_optuna.checkpoints.archives import pack, unpack
from epbt_optuna.checkpoints.format import UnreadableError
from tests.checkpoints.same import same

N_MUTATIONS = 1000
BLOCK = 16  # bytes for each one of a mutation's noise

# Mutations


def flip_a_bit(data: bytes, at: int, noise: bytes) -> bytes:
    flipped = bytes(byte ^ 1 << noise[0] % 8 for byte in data[at : at + 1])
    return data[:at] + flipped + data[at + 1 :]


def cut_short(data: bytes, at: int, noise: bytes) -> bytes:  # noqa: ARG001
    return data[:at]


def cut_out(data: bytes, at: int, noise: bytes) -> bytes:
    return data[:at] + data[at + len(noise) :]


def insert(data: bytes, at: int, noise: bytes) -> bytes:
    return data[:at] + noise + data[at:]


def overwrite(data: bytes, at: int, noise: bytes) -> bytes:
    return data[:at] + noise + data[at + len(noise) :]


def append(data: bytes, at: int, noise: bytes) -> bytes:  # noqa: ARG001
    return data + noise


def clear(data: bytes, at: int, noise: bytes) -> bytes:
    cleared = bytes(len(data[at : at + BLOCK * len(noise)]))
    return data[:at] + cleared + data[at + len(cleared) :]


def swap_blocks(data: bytes, at: int, noise: bytes) -> bytes:
    middle, end = at + BLOCK * len(noise), at + 2 * BLOCK * len(noise)
    return data[:at] + data[middle:end] + data[at:middle] + data[end:]


MUTATIONS = (flip_a_bit, cut_short, cut_out, insert, overwrite, append, clear, swap_blocks)
HEADERS = re.compile(rb"PK\x03\x04|PK\x01\x02|PK\x05\x06|PK\x06\x06|ustar")


@dataclass(frozen=True)
class Mutation:
    """One change, so many bytes behind one of the headers; or behind the start, if it has none."""

    change: Callable[[bytes, int, bytes], bytes]
    header: int
    offset: int
    noise: bytes

    def __call__(self, data: bytes) -> bytes:
        headers = [0, *(match.start() for match in HEADERS.finditer(data))]
        at = headers[self.header % len(headers)] + self.offset
        return self.change(data, at % (len(data) + 1), self.noise)


def mutations() -> st.SearchStrategy[list[Mutation]]:
    offset = st.integers(0, 50) | st.integers(0, 10_000)
    noise = st.binary(min_size=1, max_size=20)
    mutation = st.builds(Mutation, st.sampled_from(MUTATIONS), st.integers(0, 100), offset, noise)
    return st.lists(mutation, min_size=1, max_size=4)


def mutated(data: bytes, by: list[Mutation]) -> bytes:
    for mutation in by:
        data = mutation(data)
    return data


# Checkpoints


def training_state() -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.arange(15.0).reshape(5, 3)).square().sum().backward()
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "epoch": 3,
        "history": [0.5, None, ("best", True)],
    }


class Target:
    """The checkpoint of a running trial, whose bytes tests can replace."""

    def __init__(self, folder: Path) -> None:
        self.state = training_state()
        self._checkpoints = CheckpointStore(folder)
        self._trial = optuna.create_study().ask()
        self._checkpoints.save(self._trial, self.state)
        (self._path,) = folder.iterdir()
        self.data = self._path.read_bytes()

    def load(self, data: bytes, *, vouched_for: bool, mmap: bool = False) -> Any:
        """Load these bytes in place of the trial's own, with their digest in its record or not."""
        self._path.unlink()  # what is mapped into memory from the last file stays as it was
        self._path.write_bytes(data)
        recorded = data if vouched_for else self.data
        self._record(size=len(recorded), sha256=hashlib.sha256(recorded).hexdigest())
        return self._checkpoints.load(self._trial, mmap=mmap)

    def _record(self, **changes: Any) -> None:
        storage, trial_id = self._trial.storage, self._trial._trial_id
        record = storage.get_trial_system_attrs(trial_id)["epbt:checkpoint"]
        storage.set_trial_system_attr(trial_id, "epbt:checkpoint", {**record, **changes})


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return Target(tmp_path_factory.mktemp("checkpoints"))


def read_whole(state: Any) -> None:
    """Touch every byte of a state, in a copy: what is mapped into memory must be there."""
    if isinstance(state, torch.Tensor):
        state.clone()
    elif isinstance(state, dict):
        for value in state.values():
            read_whole(value)
    elif isinstance(state, list | tuple):
        for value in state:
            read_whole(value)


@settings(max_examples=N_MUTATIONS)
@given(by=mutations())
def test_a_damaged_checkpoint_is_the_state_that_was_saved_or_an_error(
    target: Target, by: list[Mutation]
) -> None:
    damaged = mutated(target.data, by)
    if damaged == target.data:
        assert same(target.load(damaged, vouched_for=False), target.state)
    else:
        with pytest.raises(
            CheckpointError, match=r"trial 0 \(.*\.pt\) cannot be read: it is damaged"
        ):
            target.load(damaged, vouched_for=False)


@settings(max_examples=N_MUTATIONS)
@given(by=mutations(), mmap=st.booleans())
def test_damaged_bytes_with_their_digest_in_the_record_are_a_whole_state_or_an_error(
    target: Target, by: list[Mutation], mmap: bool
) -> None:
    with suppress(CheckpointError):
        read_whole(target.load(mutated(target.data, by), vouched_for=True, mmap=mmap))


# Pickle programs: a checkpoint is an archive with one of them, which tells how to rebuild the state


def with_program(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return the checkpoint with another program, in an archive whose checksums are right."""
    output = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(output, "w") as changed:
        for entry in archive.infolist():
            content = stored(data, entry)
            is_program = entry.filename.endswith("/data.pkl")
            changed.writestr(entry.filename, change(content) if is_program else content)
    return output.getvalue()


def stored(data: bytes, entry: zipfile.ZipInfo) -> bytes:
    """Return what an archive stores, uncompressed; `ZipFile.read` wants checksums."""
    header = data[entry.header_offset :]
    begin = 30 + sum(struct.unpack("<HH", header[26:30]))  # then a name and extra fields
    return header[begin : begin + entry.file_size]


def test_an_unchanged_pickle_program_is_the_state_that_was_saved(target: Target) -> None:
    data = with_program(target.data, lambda program: program)
    assert same(target.load(data, vouched_for=True), target.state)


@settings(max_examples=N_MUTATIONS)
@given(by=mutations(), mmap=st.booleans())
def test_a_changed_pickle_program_is_a_whole_state_or_an_error(
    target: Target, by: list[Mutation], mmap: bool
) -> None:
    data = with_program(target.data, lambda program: mutated(program, by))
    with suppress(CheckpointError):
        read_whole(target.load(data, vouched_for=True, mmap=mmap))


class Calls:
    """Pickled, it is a program that calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


@pytest.mark.parametrize(
    "call",
    [
        lambda marker: Calls(os.mkdir, marker),
        lambda marker: Calls(os.system, f"mkdir '{marker}'"),
        lambda marker: Calls(subprocess.call, ["mkdir", marker]),
        lambda marker: Calls(builtins.eval, f"__import__('os').mkdir({marker!r})"),
        lambda marker: Calls(builtins.exec, f"import os; os.mkdir({marker!r})"),
        lambda marker: Calls(list, Calls(map, os.mkdir, [marker])),
        lambda marker: Calls(torch.save, {}, marker),
    ],
    ids=["mkdir", "system", "subprocess", "eval", "exec", "map", "torch.save"],
)
def test_a_pickle_program_that_calls_a_function_is_refused_and_does_not_run(
    target: Target, tmp_path: Path, call: Callable[[str], Calls]
) -> None:
    marker = tmp_path / "it ran"
    file = io.BytesIO()
    state = {**target.state, "history": [0.5, {"best": call(str(marker))}]}
    torch.save({"format": 1, "study": "s", "trial": 0, "state": state}, file)
    with pytest.raises(CheckpointError, match=r"trial 0 \(.*\.pt\) cannot be read: .* safely"):
        target.load(file.getvalue(), vouched_for=True)
    assert not marker.exists()
    file.seek(0)
    torch.load(file, weights_only=False)  # the program does what it is meant to
    assert marker.exists()


# Archives of files


def archived(folder: Path) -> bytes:
    (folder / "model" / "shards" / "empty").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "shards" / ("weights" * 20)).write_bytes(bytes(range(256)))
    file = io.BytesIO()
    pack(folder / "model", file)
    return file.getvalue()


def with_checksums(data: bytes) -> bytes:
    """Make the checksums of an archive's headers right."""
    blocks = [bytearray(data[at : at + 512]) for at in range(0, len(data), 512)]
    for block in blocks:
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)


@settings(max_examples=300)
@given(by=mutations(), is_hostile=st.booleans())
def test_a_damaged_archive_is_restored_at_its_place_or_refused(
    archive: bytes, by: list[Mutation], is_hostile: bool
) -> None:
    damaged = mutated(archive, by)
    with TemporaryDirectory() as folder:
        file = io.BytesIO(with_checksums(damaged) if is_hostile else damaged)
        restored = Path(folder, "inside", "restored")
        with suppress(UnreadableError, OSError):
            unpack(file, restored)
        assert {*Path(folder).iterdir()} <= {restored.parent}
        assert {*restored.parent.iterdir()} <= {restored}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return archived(tmp_path_factory.mktemp("files"))
