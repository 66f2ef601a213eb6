"""The examples run to their end, resume, and treat data as they say."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from mlflow import MlflowClient
from optuna.trial import TrialState

from epbt_optuna.journal import journal_storage
from epbt_optuna.lineage import Schedule
from examples import (
    ask_tell,
    batched,
    digits,
    fashion_mnist,
    label_noise,
    parallel_gpus,
    pruning,
    replay,
)
from examples.paper import __main__ as paper
from examples.runner import alone_in
from examples.tuning import __main__ as tuning

SMALL = ["--population", "4", "--generations", "3", "--epochs", "1"]
N_TRIALS = 3 * 4  # where elites go on training
N_TRIALS_OF_THE_PAPER = 4 + 2 * 2


def study_of(folder: Path) -> optuna.Study:
    storage = journal_storage(folder / "study.log")
    return optuna.load_study(study_name="label-noise", storage=storage)


def test_the_demo_runs_resumes_and_says_how_every_loss_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Here the one worker is this process; test_the_fashion_mnist_example… starts others.
    arguments = [*SMALL, "--seeds", "2", "--workers", "1", "--folder", str(tmp_path)]
    digits.main(arguments)
    printed = capsys.readouterr().out
    n_epochs = 2 * (5 * 3 + N_TRIALS)
    assert f"{n_epochs} epochs, in all about 1 min" in " ".join(printed.split())
    assert "Losses along the fittest's lineage" in printed
    last_lines = printed[printed.index("Accuracy on") :]
    for name in (*label_noise.STANDARD_LOSSES, "generalized c.-e. with EMA", "EPBT"):
        assert name in last_lines
    assert "Seed by seed: " in last_lines
    seeds = sorted(tmp_path.glob("*/seed-*"))
    assert len(seeds) == 2
    for folder in seeds:
        trials = study_of(folder).trials
        assert [trial.state for trial in trials] == [TrialState.COMPLETE] * N_TRIALS
        last_steps = [Schedule.from_study(study_of(folder), n).steps[-1] for n in range(8, 12)]
        assert [step.mate_weight for step in last_steps] == [0, 0, 0.5, 0.5], "elites, offspring"

    study = study_of(seeds[0])
    study.ask()  # a trial that a killed run left behind
    (run,) = tmp_path.iterdir()
    check_what_is_left_to_look_at(run, printed)
    digits.main(arguments)
    again = capsys.readouterr().out
    check_what_is_left_to_look_at(run, again)
    assert tables_in(again) == tables_in(printed)
    assert max(map(len, tables_in(again).splitlines())) <= 80
    assert study.trials[-1].state == TrialState.FAIL


def tables_in(printed: str) -> str:
    """Return what stands below how long it takes, without paths."""
    losses = printed[printed.index("Losses along") : printed.index("Studies and checkpoints")]
    return losses + printed[printed.index("Accuracy on") :]


def check_what_is_left_to_look_at(run: Path, printed: str) -> None:
    """Check that seed 0 is in MLflow, each trial once, and that the pictures are drawn."""
    uri = f"sqlite:///{run}/mlflow.db"
    assert f"mlflow ui --backend-store-uri {uri}\n" in printed
    assert f"epbt lineage {run}/seed-0/study.log\n" in printed
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("label-noise")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`epbt.role` = 'trial'")
    ended = [t for t in study_of(run / "seed-0").trials if t.state.is_finished()]
    numbers = {int(child.data.tags["epbt.trial"]) for child in runs}
    assert len(runs) == len(numbers)
    assert numbers >= {t.number for t in ended if t.state == TrialState.COMPLETE}
    assert list((run / "mlruns").rglob("lineage.png"))
    for name in ("lineage", "generations", "schedule", "losses"):
        assert str(run / f"{name}.html") in printed
        assert "plotly" in (run / f"{name}.html").read_text()


def test_exactly_the_wanted_share_of_labels_is_wrong() -> None:
    labels = torch.arange(1000) % 10
    noisy = label_noise.with_label_noise(labels, 0.4, n_classes=10, seed=0)
    assert int((noisy != labels).sum()) == 400
    assert set(noisy.tolist()) == set(range(10))
    assert torch.equal(noisy, label_noise.with_label_noise(labels, 0.4, n_classes=10, seed=0))


def test_the_test_part_of_the_digits_is_clean_and_nobody_trains_on_it() -> None:
    clean, noisy = digits.make_split(3, label_noise=0.0), digits.make_split(3, label_noise=0.4)
    assert all(map(torch.equal, clean.test, noisy.test))
    sizes = [len(part[1]) for part in (noisy.train, noisy.validation, noisy.test)]
    assert sizes == [digits.N_TRAIN, digits.N_VALIDATION, 1797 - sum(sizes[:2])]
    for part, other in ((noisy.train, clean.train), (noisy.validation, clean.validation)):
        assert 0.3 < float((part[1] != other[1]).float().mean()) < 0.5


@pytest.mark.parametrize("loss_fn", label_noise.STANDARD_LOSSES.values())
def test_every_standard_loss_is_least_where_the_label_is_certain(
    loss_fn: label_noise.Loss,
) -> None:
    right = torch.tensor([[4.0, 0.0, 0.0]])
    labels = torch.tensor([0])
    assert loss_fn(right, labels) < loss_fn(-right, labels)


def test_generalized_cross_entropy_lies_between_the_two_it_joins() -> None:
    logits, labels = torch.randn(50, 10), torch.randint(10, (50,))
    nearly_ce = label_noise.generalized_cross_entropy(logits, labels, q=1e-4)
    exactly_mae = label_noise.generalized_cross_entropy(logits, labels, q=1.0)
    assert torch.isclose(nearly_ce, torch.nn.functional.cross_entropy(logits, labels), atol=1e-2)
    assert torch.isclose(2 * exactly_mae, label_noise.mean_absolute_error(logits, labels))


def write_fashion_mnist(folder: Path, *, compressed: bool) -> None:
    """Write 200 + 50 random images in the format of the real files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for kind, n in (("train", 200), ("t10k", 50)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        for name, header, array in (
            ("images-idx3", struct.pack(">IIII", 2051, n, 28, 28), images),
            ("labels-idx1", struct.pack(">II", 2049, n), labels),
        ):
            data = header + array.tobytes()
            path = folder / f"{kind}-{name}-ubyte"
            if compressed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data))
            else:
                path.write_bytes(data)


@pytest.mark.parametrize("place", ["data root", "Debian's"])
def test_fashion_mnist_is_found_in_the_data_root_or_where_debian_puts_it(
    tmp_path: Path, place: str
) -> None:
    debian = tmp_path / "debian"
    if place == "data root":
        write_fashion_mnist(tmp_path / "data" / "FashionMNIST" / "raw", compressed=False)
    else:
        write_fashion_mnist(debian, compressed=True)
    images, labels = fashion_mnist.load(tmp_path / "data", train=True, debian=debian)
    assert images.shape == (200, 784)
    assert images.dtype == torch.float32
    assert 0 <= float(images.min()) < 0.1 < 0.9 < float(images.max()) <= 1
    assert labels.tolist() == [i % 10 for i in range(200)]


def test_without_files_and_network_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.FashionMNIST.mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(SystemExit, match=r"Install Debian's `dataset-fashion-mnist`"):
        fashion_mnist.load(tmp_path / "data", train=True, debian=tmp_path / "none")


def test_the_fashion_mnist_example_runs_to_its_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_fashion_mnist(tmp_path / "data" / "FashionMNIST" / "raw", compressed=False)
    places = ["--data-root", str(tmp_path / "data"), "--folder", str(tmp_path / "runs")]
    sizes = ["--train", "128", "--validation", "64"]
    fashion_mnist.main([*SMALL, "--workers", "2", *places, *sizes, "--label-noise", "0.4"])
    assert "40% of the training" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="must be at most 200 but is 264"):
        fashion_mnist.make_split(0, 0.4, data_root=tmp_path / "data", n_train=200, n_validation=64)


def test_a_whole_generation_is_asked_trained_together_and_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask_tell.main(["--population", "4", "--generations", "3"])
    assert f"of {N_TRIALS_OF_THE_PAPER} is the fittest" in capsys.readouterr().out


def test_generations_are_trained_in_batches(capsys: pytest.CaptureFixture[str]) -> None:
    batched.main(["--population", "4", "--generations", "3"])
    assert f"of {N_TRIALS} is the fittest" in capsys.readouterr().out


def test_many_workers_finish_a_study_that_the_same_command_does_not_begin_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--population", "4", "--generations", "3", "--workers", "2"]
    for _ in range(2):
        parallel_gpus.main([*arguments, "--folder", str(tmp_path)])
        printed = capsys.readouterr().out
        assert f"of {N_TRIALS_OF_THE_PAPER} is the fittest" in printed
        assert "Trials by device: c" in printed, "cpu, or cuda"


EVOLVES = "noise-0.4-21x30x1-t4-recommended"


@pytest.mark.parametrize(
    ("main", "arguments", "own"),
    [
        (digits.main, ["--folder"], EVOLVES),
        (replay.main, ["--folder"], EVOLVES),  # in the studies of the one above
        (pruning.main, ["--folder"], "noise-0.4-40x20x4-t4-paper/digits-any"),
        (paper.main, ["run", "digits-noisy", "--work"], "digits-noisy"),
        (tuning.main, ["run", "ppo", "--work"], "ppo"),
    ],
)
def test_no_program_begins_in_a_folder_where_another_run_works(
    tmp_path: Path, main: Callable[[list[str]], None], arguments: list[str], own: str
) -> None:
    results = ["--results", str(tmp_path / "results")] if "run" in arguments else []
    with (
        alone_in(tmp_path / own),
        pytest.raises(SystemExit, match=f"Another run works in .*{own}: wait"),
    ):
        main([*arguments, str(tmp_path), *results])
    assert [path.name for path in (tmp_path / own).iterdir()] == [".lock"], "nothing began"
