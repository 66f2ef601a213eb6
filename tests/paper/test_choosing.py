"""Settings are chosen by validation images, on seeds and configs that they are for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.paper import ExperimentError
from examples.paper.arms import ARMS, CLEAN
from examples.paper.choosing import FOLDER, choosing
from examples.paper.configs import CONFIGS
from examples.paper.kinds import EPBTArm
from examples.paper.results import Job, add_record, results_file


def add(results: Path, config: str, arm: EPBTArm, *validations: float, **more: Any) -> None:
    """Add a line for each of some best validation accuracies, of seeds from 100 on."""
    name = f"recommended-clean-sigma-{arm.sigma}"
    for seed, best in enumerate(validations, start=100):
        job = Job(CONFIGS[config], name, arm, seed)
        curve = [[1, best / 100 - 0.1, 0.99], [2, best / 100, 0.1], [3, best / 100 - 0.1, 0.99]]
        record = {"settings": job.settings, "digest": job.digest, "seed": seed, "curve": curve}
        add_record(results_file(results / FOLDER, config), {**record, **more})


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for config, accuracies in (("digits-clean", [90.0, 91.0]), ("fashion-5000", [80.0, 81.0])):
        add(tmp_path, config, CLEAN, *accuracies)
        add(tmp_path, config, replace(CLEAN, sigma=0.1), *(value - 1 for value in accuracies))
    return tmp_path


def test_candidates_stand_by_their_best_validation_accuracy_and_their_mean(results: Path) -> None:
    rows = choosing(results).splitlines()
    assert rows[0] == (
        "| `recommended-clean` | `digits-clean` | `fashion-5000` "
        "| mean of `digits-clean`, `fashion-5000` |"
    )
    assert rows[2] == "| σ = 0.1 | 89.50 (n = 2) | 79.50 (n = 2) | 84.50 |"
    assert rows[3] == "| σ = 0.2 | 90.50 (n = 2) | 80.50 (n = 2) | **85.50** |"
    assert rows[-1] == "`recommended-clean` has σ = 0.2: the best of 2 on the mean."


def test_a_setting_that_is_not_the_best_candidate_is_said_to_be_behind(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARMS, "recommended-clean", replace(CLEAN, sigma=0.1))
    assert choosing(results).endswith(
        "The best of 2 on the mean, σ = 0.2, is +1.00 [+1.00, +1.00] points ahead (n = 2)."
    )


def test_the_best_candidate_on_one_seed_is_named_and_not_compared(results: Path) -> None:
    for config in ("digits-clean", "fashion-5000"):
        add(results, config, replace(CLEAN, sigma=0.4), 99.0)
    text = choosing(results)
    assert "has σ = 0.2. The best of 3 on the mean, σ = 0.4, has too few seeds" in text


def test_configs_with_wrong_labels_do_not_count_for_the_setting_for_right_ones(
    results: Path,
) -> None:
    add(results, "digits-noisy", replace(CLEAN, sigma=0.1), 99.0)
    text = choosing(results)
    assert "| σ = 0.1 | 89.50 (n = 2) | 99.00 (n = 1) | 79.50 (n = 2) | 84.50 |" in text
    assert "| σ = 0.2 | 90.50 (n = 2) | – | 80.50 (n = 2) | **85.50** |" in text


def test_a_candidate_that_lacks_a_config_is_not_compared(results: Path) -> None:
    add(results, "fashion-5000", replace(CLEAN, sigma=0.4), 99.0)
    text = choosing(results)
    assert "| σ = 0.4 | – | 99.00 (n = 1) | – |" in text
    assert text.endswith("σ = 0.2: the best of 2 on the mean.")


def test_any_setting_in_which_candidates_differ_is_shown(results: Path) -> None:
    other = replace(CLEAN, sigma=0.3, mate_weight=0.25)
    add(results, "digits-clean", other, 80.0)
    assert "| σ = 0.3, mate weight 0.25 | 80.00 (n = 1) | – | – |" in choosing(results)


@pytest.mark.parametrize("wrong", [{"seed": 9}, {"digest": "0"}])
def test_reported_seeds_and_changed_settings_are_refused(
    results: Path, wrong: dict[str, Any]
) -> None:
    add(results, "digits-clean", CLEAN, 90.0, **wrong)
    with pytest.raises(ExperimentError, match=r"must have a seed of at least 100 and settings"):
        choosing(results)


def test_without_such_runs_nothing_is_said(tmp_path: Path) -> None:
    assert choosing(tmp_path) == ""
