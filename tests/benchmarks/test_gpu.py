"""What `make gpu` does on a GPU runs on a CPU at a small size, which is never taken for figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.benchmarks.gpu.__main__ import MODULES, main
from tests.benchmarks.gpu.device import those_that_run
from tests.benchmarks.page import JSON, PAGE, names_in_template
from tests.benchmarks.table import read_tables


@pytest.mark.parametrize("name", MODULES)
def test_a_table_of_a_gpu_runs_on_a_cpu_at_a_small_size(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in ("gpu-cnn", "gpu-resnet32"):  # processes take seconds to start: once is enough
        monkeypatch.setattr("tests.benchmarks.gpu.training.processes", lambda *_: [1.0])
    main([name, "--small", "--folder", str(tmp_path)])
    (table,) = read_tables(tmp_path / JSON).values()
    assert table.quick
    assert all(figure.median for case in table.cases for figure in case.figures.values())
    assert f"`python -m tests.benchmarks.gpu {name}`" in (tmp_path / PAGE).read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_the_full_size_is_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.benchmarks.making.make", lambda *_, **__: pytest.fail("it ran"))
    with pytest.raises(SystemExit, match="no CUDA device is here; --small runs"):
        main(["gpu-device"])


def test_what_does_not_run_is_said_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise RuntimeError("no graph\nof this")

    ways: dict[str, Callable[[], Callable[[], object]]] = {
        "plain": lambda: int,
        "graph": lambda: fails,
    }
    assert list(those_that_run(ways)) == ["plain"]
    assert capsys.readouterr().err == "graph does not run here: no graph\n"


def test_every_table_of_a_gpu_has_its_place_on_the_page() -> None:
    assert set(MODULES) <= set(names_in_template())
