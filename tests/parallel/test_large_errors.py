"""An error that carries a batch of data along costs neither the study nor the driver its memory."""

from __future__ import annotations

import pickle

import optuna

from epbt_optuna.parallel.engines.pickling import packed, unpacked
from epbt_optuna.parallel.worker import Outcome, Work


def test_what_is_stored_of_an_error_is_its_beginning_and_its_end() -> None:
    study = optuna.create_study()
    trial = study.ask()

    def fail(_: object) -> float:
        raise ValueError("A batch: " + "x" * 5_000_000 + " end")

    outcome = Work(study, fail, (ValueError,)).run(trial)
    stored = study.trials[0].system_attrs["epbt:error"]
    assert stored == outcome.failure
    assert len(stored) <= 8_000
    assert "ValueError: A batch: xxx" in stored
    assert stored.rstrip().endswith("x end")


def test_what_is_sent_of_an_error_is_small_and_says_what_it_was() -> None:
    data = packed(Outcome("traceback", ValueError("A batch: " + "x" * 5_000_000)))
    assert len(data) < 100_000
    error = unpacked(data).error
    assert isinstance(error, RuntimeError)
    assert str(error).startswith("ValueError: A batch: xxx")
    small = unpacked(packed(Outcome("traceback", ValueError("small")))).error
    assert isinstance(small, ValueError)
    assert pickle.dumps(small)
