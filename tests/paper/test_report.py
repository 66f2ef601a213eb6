"""The report says what the result files say, byte for byte the same, and refuses strangers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from examples.paper import ExperimentError, report
from examples.paper.__main__ import main
from examples.paper.arms import ARMS, METHODS, SWEEPS_CLEAN, SWEEPS_NOISY
from examples.paper.configs import CONFIGS, DIGITS
from examples.paper.report import SUBJECTS, write_report
from examples.paper.results import Job, line_of, read_records, results_file

SEEDS = range(3)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Made-up results of two configs, in the format of real ones."""
    folder = tmp_path / "docs" / "results"
    folder.mkdir(parents=True)
    for config in (CONFIGS["digits-clean"], CONFIGS["digits-noisy"]):
        jobs = [
            (Job(config, name, ARMS[name], seed), rank)
            for rank, name in enumerate(ARMS)
            for seed in SEEDS
        ]
        lines = [line_of(record_of(job, rank)) for job, rank in jobs]
        results_file(folder, config.name).write_text("".join(lines), encoding="utf-8")
    return folder


def record_of(job: Job, rank: int) -> dict[str, object]:
    def test(epoch: int) -> float:
        return 0.5 + 0.01 * rank + 0.001 * job.seed * (rank % 3) + epoch / 1_000

    theta = {f"theta_{i}": float(i - 4) * (1 + 0.1 * rank + job.seed) for i in range(8)}
    ancestry = [
        {"trial": 40 * g, "generation": g, "epochs": 3 * g + 3, "fitness": 0.5, "params": theta}
        for g in range(0, 20, 4)
    ]
    return {
        "settings": job.settings,
        "digest": job.digest,
        "seed": job.seed,
        "device": "one thread of a CPU (made up)",
        "versions": {"torch": "0.0"},
        "seconds": {"breed": 1.0, "train": 98.0, "evaluate": 1.0, "test": 40.0},
        "epochs_trained": 1_260,
        "losses_explored": 420,
        "curve": [[epoch, 0.5 + epoch / 100, test(epoch)] for epoch in range(3, 61, 3)],
        "ancestry": ancestry,
    }


@pytest.fixture
def page(results: Path) -> Path:
    return results.parent / "results.md"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave figures empty: drawing takes most of a report's time."""

    def touch(_: object, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    for name in ("draw_accuracies", "draw_ancestries", "draw_noises", "draw_rivals", "draw_sweeps"):
        monkeypatch.setattr(report, name, touch)


def test_a_report_is_the_same_bytes_each_time(results: Path, page: Path) -> None:
    (results / "digits-clean.jsonl").unlink()  # one config has every kind of figure
    files: list[dict[Path, bytes]] = []
    for _ in range(2):
        write_report(results, page)
        written = [page, *(results / "figures").glob("*.svg")]
        assert len(written) == 6  # two figures a config, and three of all
        files.append({path: path.read_bytes() for path in written})
    assert files[0] == files[1]


@pytest.mark.usefixtures("undrawn")
def test_tables_hold_what_the_files_hold(results: Path, page: Path) -> None:
    write_report(results, page)
    text = page.read_text(encoding="utf-8")
    rank = list(ARMS).index("epbt")
    accuracies = [100 * (0.5 + 0.01 * rank + 0.001 * seed * (rank % 3) + 0.06) for seed in SEEDS]
    mean = sum(accuracies) / 3
    assert re.search(rf"\| EPBT on θ \(`epbt`\) \| {mean:.2f} \(\d\.\d\d, n = 3\)", text)
    assert "| `digits-noisy`, `epbt` | 420.0 | 1,260.0 | 51.0 | 25,200 | 140.0 |" in text
    assert "| stages 1 and 2: select, mutate, cross over | 1.00 % | 1.00 % |" in text
    assert "`EPBTSampler(40).n_trials(25)` is 520" in text


@pytest.mark.usefixtures("undrawn")
def test_wins_and_losses_are_read_from_the_files_not_written_by_hand(
    results: Path, page: Path
) -> None:
    def said() -> str:
        write_report(results, page)
        text = page.read_text(encoding="utf-8")
        (line,) = re.findall(r"(?m)^    - `digits-clean`: .*", text)
        return str(line)

    assert said().endswith(", n = 3: wins")  # later arms are made up to be better
    add_to_accuracy(results / "digits-clean.jsonl", "epbt-paper", 1.4)
    assert said().endswith(", n = 3: loses")


@pytest.mark.usefixtures("undrawn")
def test_a_group_of_rivals_is_stood_for_by_its_best(results: Path, page: Path) -> None:
    add_to_accuracy(results / "digits-noisy.jsonl", "pbt-theta-uniform", 0.3)
    write_report(results, page)
    (row,) = re.findall(r"(?m)^\| minus PBT \(3\) .*", page.read_text(encoding="utf-8"))
    assert re.findall(r"\(`([\w-]+)`\)", row) == ["pbt-sgd", "pbt-theta-uniform"]


def test_every_arm_that_was_run_is_on_the_page() -> None:
    in_tables = [name for names in SUBJECTS.values() for name in names]
    assert sorted([*in_tables, *SWEEPS_CLEAN, *SWEEPS_NOISY]) == sorted(ARMS)


def add_to_accuracy(path: Path, arm: str, more: float) -> None:
    records = read_records(path)
    for (name, _), record in records.items():
        if name == arm:
            record["curve"] = [[epoch, best, test + more] for epoch, best, test in record["curve"]]
    path.write_text("".join(map(line_of, records.values())), encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_every_file_named_and_every_config_counted_is_there(results: Path, page: Path) -> None:
    write_report(results, page)
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (page.parent / target).is_file()
    assert f"| 20 × 3 | {len(ARMS) * len(SEEDS)} |" in text


@pytest.mark.usefixtures("undrawn")
def test_an_arm_of_one_seed_is_shown_and_missed_but_not_compared(results: Path, page: Path) -> None:
    path = results / "digits-noisy.jsonl"
    kept = [
        line_of(record)
        for (name, seed), record in read_records(path).items()
        if name != "cross-entropy" or seed == 0
    ]
    path.write_text("".join(kept), encoding="utf-8")
    write_report(results, page)
    text = page.read_text(encoding="utf-8")
    assert "1 of 10 seeds: `cross-entropy`;" in text
    assert re.search(r"\| Cross-entropy \(`cross-entropy`\) \| [^|]* \| [\d.]+ \(n = 1\) ", text)
    assert re.search(r"(?m)^\| minus cross-entropy \| [+\d][^|]* \| – \|", text)


@pytest.mark.usefixtures("undrawn")
def test_without_the_recommended_settings_there_is_no_picture_of_them(
    results: Path, page: Path
) -> None:
    for path in results.glob("*.jsonl"):
        kept = [line_of(r) for (arm, _), r in read_records(path).items() if arm in METHODS]
        path.write_text("".join(kept), encoding="utf-8")
    write_report(results, page)
    text = page.read_text(encoding="utf-8")
    assert "At one look" not in text
    assert "Aim: none lost: cannot be said before the missing ones have run." in text
    assert "None of those runs is there." in text


def test_a_folder_without_results_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"python -m examples.paper run"):
        write_report(tmp_path, tmp_path / "page.md")


def change(path: Path, job: tuple[str, int], old: str, new: str) -> None:
    """Change the line of a job."""
    line = line_of(read_records(path)[job])
    assert old in line
    text = path.read_text(encoding="utf-8").replace(line, line.replace(old, new))
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"momentum": 0.9',
            '"momentum": 0.8',
            r"epbt-seed0 in .*clean.jsonl was made .*`momentum` was 0.8",
        ),
        ('"seed": 0', '"seed": 1', r"clean.jsonl, line \d+, is a second epbt-seed1"),
        ('"digest": "', '"digest": "0', r"epbt-seed0 in .* has digest '0"),
        ('"name": "epbt"', '"name": "gone"', r"arm 'gone', not both known"),
        ('"curve"', '"curved"', r"it lacks 'curve'"),
        ('"seed"', '"seeds"', r"line \d+, is not a result: 'seed'"),
        ('{"settings"', '"settings"', r"line \d+, is not a result"),
    ],
)
def test_a_foreign_or_broken_result_is_named(
    results: Path, page: Path, old: str, new: str, message: str
) -> None:
    change(results / "digits-clean.jsonl", ("epbt", 0), old, new)
    with pytest.raises(ExperimentError, match=message):
        write_report(results, page)


def test_results_of_an_unknown_config_are_named(results: Path, page: Path) -> None:
    (results / "digits-clean.jsonl").rename(results / "digits-old.jsonl")
    with pytest.raises(ExperimentError, match=r"unknown configs: digits-old"):
        write_report(results, page)


# The command line


def test_run_skips_what_is_done_and_report_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = replace(
        DIGITS, n_train=120, n_validation=60, population_size=4, n_generations=2,
        epochs_per_generation=1,
    )  # fmt: skip
    monkeypatch.setitem(CONFIGS, DIGITS.name, tiny)
    places = ["--results", str(tmp_path / "results"), "--work", str(tmp_path / "work")]
    command = ["run", DIGITS.name, "--seeds", "2", "--workers", "2", *places]
    main([*command, "--arms", "cross-entropy", "epbt"])
    main([*command, "--arms", "cross-entropy", "epbt"])
    printed = capsys.readouterr().out
    assert "4 of 4 jobs to do" in printed
    assert "0 of 4 jobs to do" in printed
    page = tmp_path / "page.md"
    main(["report", "--results", str(tmp_path / "results"), "--page", str(page)])
    assert "EPBT on θ" in page.read_text(encoding="utf-8")
    monkeypatch.setitem(CONFIGS, DIGITS.name, replace(tiny, learning_rate=0.2))
    with pytest.raises(SystemExit, match=r"`learning_rate` was 0.1 and is 0.2"):
        main([*command, "--arms", "epbt"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "digit"], r"error: Config must be one of digits-clean, .* but got 'digit'"),
        (["run", "digits-clean", "--arms", "adam"], r"error: Arm must be one of .*got 'adam'"),
        (["run", "digits-clean", "--seeds", "0"], r"--seeds and --workers must be at least 1"),
        (["run", "digits-clean", "--devices", "cuda:99"], r"Device 'cuda:99' cannot be used"),
    ],
)
def test_a_wrong_command_line_ends_in_a_sentence(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    if arguments[0] == "run":
        arguments = [*arguments, "--results", str(tmp_path), "--work", str(tmp_path)]
    with pytest.raises(SystemExit, match=message):
        main(arguments)


def test_list_names_every_config_and_arm(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list"])
    printed = capsys.readouterr().out
    assert all(f"{name}  " in printed for name in (*CONFIGS, *ARMS))


def test_settings_are_plain_json_and_do_not_hold_descriptions() -> None:
    settings = Job(DIGITS, "epbt", ARMS["epbt"], 0).settings
    assert json.loads(json.dumps(settings)) == settings
    assert "description" not in settings["arm"]
