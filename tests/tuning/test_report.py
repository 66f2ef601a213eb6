"""The page says what is in the files, compares in pairs, and keeps seeds for choosing apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from examples.paper import ExperimentError
from examples.paper.results import add_record
from examples.tuning.__main__ import main
from examples.tuning.arms import arms_of
from examples.tuning.report import write_report
from examples.tuning.results import Job, read_results, results_file
from examples.tuning.tasks import TASKS


def add(
    folder: Path,
    arm: str,
    seed: int,
    incumbents: Sequence[tuple[int, float, float, float]],
    seconds: float = 10.0,
    task: str = "cnn",
) -> None:
    job = Job(TASKS[task], arm, arms_of(task)[arm], seed)
    record = {
        "settings": job.settings,
        "digest": job.digest,
        "seed": seed,
        "device": "",
        "versions": {},
        "seconds": seconds,
        "n_steps": 240,
        "n_networks": 16,
        "incumbents": [list(incumbent) for incumbent in incumbents],
        "schedule": [{v.name: v.low for v in TASKS[task].variables}] * 3,
    }
    add_record(results_file(folder, task), record)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """EPBT ends two points above random search, but is behind when that has ended."""
    folder = tmp_path / "results" / "tuning"
    for seed in range(3):
        add(folder, "epbt", seed, [(1, 1.0, 50.0, 50.0), (200, 18.0, 90.0, 88.0 + seed)], 20.0)
        add(folder, "random", seed, [(1, 1.0, 40.0, 40.0), (30, 3.0, 85.0, 86.0 + 1.1 * seed)])
    add(folder, "epbt", 1_000, [(1, 1.0, 77.0, 11.0)])
    add(folder, "epbt-gentle", 1_000, [(1, 1.0, 78.0, 12.0)])
    return folder


def test_the_page_compares_at_equal_steps_and_at_equal_time(results: Path, tmp_path: Path) -> None:
    write_report(results, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    steps, time = page.split("### Equal time")
    assert "| EPBT, elites go on training (`epbt`) | 89.00 (1.00, n = 3) | 88.00 | – |" in steps
    assert "| Random search, constants (`random`) | 87.10 (1.10, n = 3) | 86.00 | +1.90 [" in steps
    assert "wins |" in steps
    assert "| EPBT, elites go on training (`epbt`) | 50.00 (0.00, n = 3) | 50.00 | – |" in time
    assert "loses |" in time
    assert "results/tuning/figures/cnn.svg" in page
    assert (results / "figures" / "cnn-schedules.svg").exists()


def test_aims_are_judged_once_ten_seeds_have_run(results: Path, tmp_path: Path) -> None:
    for seed in range(10):
        add(results, "epbt", seed, [(1, 1.0, 90.0, 88.0 + seed)])
        add(results, "random-cosine", seed, [(1, 1.0, 90.0, 99.0 + seed)])
    write_report(results, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "- `epbt` ahead of `random`: +1.90 [+1.65, +2.15], over 3 seeds, not judged" in page
    assert "- `epbt` ahead of `tpe-hyperband`: not run" in page
    assert "- `epbt` not behind `random-cosine`: -11.00 [-11.00, -11.00], missed" in page
    assert "Of 10 seeds these arms have fewer so far: `epbt-paper` 0, `pbt` 0," in page


def test_seeds_for_choosing_enter_no_comparison(results: Path, tmp_path: Path) -> None:
    write_report(results, tmp_path / "page.md")
    compared, choosing = (tmp_path / "page.md").read_text().split("### Settings")
    assert "σ = 0.1" not in compared
    assert (
        "| EPBT, elites go on training, σ = 0.1, resets 0.05 | 78.00 (n = 1) | 78.00 |" in choosing
    )
    assert "12.00" not in choosing


def test_a_candidate_is_compared_with_the_default_on_the_seeds_of_both(
    results: Path, tmp_path: Path
) -> None:
    for seed, default, gentle in ((1_001, 70.0, 73.0), (1_002, 70.0, 73.0), (1_003, 0.0, None)):
        add(results, "epbt", seed, [(1, 1.0, default, 0.0)])
        if gentle is not None:
            add(results, "epbt-gentle", seed, [(1, 1.0, gentle, 0.0)])
    add(results, "epbt-cosine", 1_000, [(1, 1.0, 99.0, 0.0)])
    write_report(results, tmp_path / "page.md")
    choosing = (tmp_path / "page.md").read_text().split("### Settings")[1]
    rows = {row.split(" |")[0]: row for row in choosing.splitlines()}
    name = "| EPBT, elites go on training"
    assert "| +2.33 [" in rows[f"{name}, σ = 0.1, resets 0.05"]
    assert "n = 3: ties |" in rows[f"{name}, σ = 0.1, resets 0.05"]
    assert rows[f"{name}, over a cosine"].endswith("| 99.00 | – |")  # one pair says nothing
    assert rows[name].endswith("| 0.00 | – |")


def test_the_same_files_make_the_same_page_and_figures(results: Path, tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        write_report(results, tmp_path / "page.md")
        made.append([path.read_bytes() for path in sorted(tmp_path.rglob("*.[sm][vd]*"))])
    assert len(made[0]) == 3
    assert made[0] == made[1]


def test_what_was_chosen_by_a_time_is_found_in_the_record(results: Path) -> None:
    result = read_results(results, "cnn")[0]
    assert result.arm == "epbt"
    assert result.test_at(seconds=17.9) == 50.0
    assert result.test_at(seconds=18.0) == result.test_at(n_steps=200) == result.test == 88.0
    assert result.test_at(seconds=0.5) != result.test_at(seconds=0.5)  # NaN: nothing yet


def test_a_line_of_other_settings_is_refused(results: Path, tmp_path: Path) -> None:
    path = results_file(results, "cnn")
    path.write_text(path.read_text().replace('"n_train": 4000', '"n_train": 99', 1))
    with pytest.raises(ExperimentError, match="`n_train` was 99 and is 4000"):
        write_report(results, tmp_path / "page.md")


def test_a_single_seed_is_no_test(tmp_path: Path) -> None:
    for arm in ("epbt", "random"):
        add(tmp_path, arm, 0, [(1, 1.0, 50.0, 50.0)])
    with pytest.raises(ExperimentError, match="share 1 seed"):
        write_report(tmp_path, tmp_path / "page.md")


def test_no_results_are_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"error: .* holds no result files"):
        main(["report", "--results", str(tmp_path)])
    with pytest.raises(SystemExit, match="Arm of cnn must be one of core, candidates"):
        main(["run", "cnn", "--arms", "grid"])
    main(["list"])
    assert "tpe-hyperband-cosine" in capsys.readouterr().out
