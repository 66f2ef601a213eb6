"""Commands that change something: checkpoints, a study, or MLflow."""

from __future__ import annotations

from pathlib import Path

import click

from epbt_optuna.cli._arguments import examples, opened, say, study_arguments

__all__ = ["branch", "collect", "running", "sync"]


@click.command(
    epilog=examples(
        "epbt collect sqlite:///epbt.db my-study checkpoints --dry-run",
        "epbt collect sqlite:///epbt.db checkpoints --keep lineage",
    )
)
@click.argument("storage")
@click.argument("places", metavar="[STUDY] CHECKPOINT_FOLDER", nargs=-1, required=True)
@click.option(
    "--keep",
    type=click.Choice(("population", "lineage", "all")),
    default="population",
    show_default=True,
    help="population: those who may still become parents, and the best. lineage: also their "
    "ancestors. all: every checkpoint that a trial recorded; only what crashed writers left goes.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def collect(storage: str, places: tuple[str, ...], keep: str, dry_run: bool) -> None:
    """Remove checkpoints that no trial can need.

    Safe while workers are training.
    """
    from epbt_optuna.cli._collect import collect_garbage

    *study_name, folder = places  # an argument before a required one cannot be optional in click
    if len(study_name) > 1:
        raise click.UsageError(f"STORAGE, STUDY and CHECKPOINT_FOLDER, but got {places} as well.")
    study = opened(storage, *study_name)
    say(collect_garbage(study, Path(folder), keep, dry_run=dry_run))


@click.command(
    epilog=examples("epbt branch sqlite:///copy.db my-study --checkpoints checkpoints"),
)
@study_arguments
@click.option(
    "--checkpoints", type=click.Path(path_type=Path), metavar="FOLDER", help="Where it saves."
)
def branch(storage: str, study_name: str | None, checkpoints: Path | None) -> None:
    """Make a copy of a study independent of its original.

    For a copied database file, where both go on. Call it once, in the copy, before it goes on.
    """
    from epbt_optuna.cli._branch import branch_off

    say(branch_off(opened(storage, study_name), checkpoints))


@click.command(
    epilog=examples(
        "epbt running sqlite:///epbt.db",
        "epbt running sqlite:///epbt.db --resume",
        "epbt running sqlite:///epbt.db --fail --trial 17",
    )
)
@study_arguments
@click.option(
    "--trial",
    "numbers",
    type=click.IntRange(min=0),
    metavar="N",
    multiple=True,
    help="Only this trial; may be repeated.",
)
@click.option("--fail", "action", flag_value="fail", help="Fail them: their places are lost.")
@click.option("--resume", "action", flag_value="resume", help="Queue them to be trained again.")
def running(
    storage: str, study_name: str | None, numbers: tuple[int, ...], action: str | None
) -> None:
    """Show running trials, and end abandoned ones.

    A process that is killed leaves its trials behind as running. Nothing in a study tells a dead
    process from a slow one: use --fail and --resume only where no process works on these trials
    any more. A resumed trial fails, and the next one asked has its parent and hyperparameters, and
    starts from what it last saved.
    """
    from epbt_optuna.cli._running import end_running, print_running

    study = opened(storage, study_name)
    if action is None:
        print_running(study, numbers)
    else:
        say(end_running(study, numbers, action))


@click.command(
    epilog=examples(
        "epbt sync sqlite:///epbt.db --tracking-uri sqlite:///mlflow.db",
        "epbt sync study.log my-study --tracking-uri http://localhost:5000 --experiment digits",
    )
)
@study_arguments
@click.option("--tracking-uri", metavar="URI", help="MLflow's.  [default: what MLflow is set to]")
@click.option("--experiment", metavar="NAME", help="Of MLflow.  [default: the study's name]")
@click.option("--log-checkpoints", is_flag=True, help="Make checkpoints MLflow models.")
def sync(
    storage: str,
    study_name: str | None,
    tracking_uri: str | None,
    experiment: str | None,
    log_checkpoints: bool,
) -> None:
    """Bring to MLflow what is missing there of a study.

    Such as what a killed run left over. What is there stays, and nothing is there twice.
    """
    from epbt_optuna.tracking import MLflowTracker

    tracker = MLflowTracker(tracking_uri, experiment=experiment, log_checkpoints=log_checkpoints)
    study = opened(storage, study_name)
    say(f"Study {study.study_name} is in MLflow: {tracker.sync(study)}")
