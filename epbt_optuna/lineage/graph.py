"""Who descends from whom: one line, the whole graph, or a table with a row for each trial."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna import Study
from optuna.trial import FrozenTrial

from epbt_optuna._internal.extras import needs
from epbt_optuna.lineage.history import History

if TYPE_CHECKING:
    import networkx
    import pandas

__all__ = ["ancestry", "lineage_dataframe", "lineage_graph"]


def ancestry(study: Study, trial: FrozenTrial | int | None = None) -> list[FrozenTrial]:
    """Return the chain of weights from a founder to `trial`, both included.

    The hyperparameters along it are the schedule under which the trial's weights were trained.
    Elites appear once: they are not trained again (section 5 of the paper). With `train_elites`
    they are, and appear once for each generation of their training.

    Args:
        study: A study that a sampler of ours has bred in.
        trial: One of its trials, or a number. Default: the best trial.

    Returns:
        The trials, the founder first. A parent without weights (one that was added to the study
        and saved no checkpoint) is not among them: its children began afresh.

    Raises:
        TypeError: `trial` is neither a trial nor a number.
        ValueError: The study is empty or not ours, there is no such trial, no best one, or it
            has no weights.
    """
    history = History.of(study)
    return list(history.ancestry(history.trial(trial)))


def lineage_graph(study: Study) -> networkx.DiGraph:
    """Return the lineage of a whole study: who inherited weights from whom, and who mated.

    Nodes are trial numbers, with the attributes

    - `generation`: int;
    - `state`: `"COMPLETE"`, `"PRUNED"`, `"FAIL"`, `"RUNNING"` or `"WAITING"`;
    - `value`: the trial's value, or None; of a PRUNED trial the last it reported, as in Optuna;
    - `params`: dict;
    - `survives_until`: for COMPLETE trials the last generation after which it is alive, at least
      its own; else None;
    - `elite`: whether it is its parent, an elite that goes on training (`train_elites`);
    - `best`: whether it is the study's best trial;
    - `in_best_ancestry`: whether it is that one, or one that handed weights down to it.

    Edges lead from parent to child (`kind="weights"`) and from mate to child
    (`kind="crossover"`, and `mate_weight`, the mate's share in the weights that the child started
    from; 0 where it gave none). The graph's attributes are `study_name`, `direction`
    (`"maximize"` or `"minimize"`), `population_size`, `n_elites` and `n_generations`.

    Args:
        study: A study that a sampler of ours has bred in; its trials may be in any state.

    Raises:
        ValueError: The study is empty or not ours.
    """
    import networkx  # not for samplers, who import this package's neighbours

    history = History.of(study)
    graph = networkx.DiGraph(
        study_name=history.study_name,
        direction=history.direction.name.lower(),
        population_size=history.generations.population_size,
        n_elites=history.generations.n_elites,
        n_generations=history.n_generations,
    )
    for trial in history.trials:
        graph.add_node(
            trial.number,
            generation=history.generations.of(trial.number),
            state=trial.state.name,
            value=trial.value,
            params=dict(trial.params),
            survives_until=history.survives_until.get(trial.number),
            best=trial is history.best,
            in_best_ancestry=trial.number in history.best_ancestry,
        )
        parent, mate, is_elite = _origin(history, trial)
        graph.nodes[trial.number]["elite"] = is_elite
        if parent is not None:
            graph.add_edge(parent, trial.number, kind="weights")
        if mate is not None:
            share = history.mate_weight(trial)
            graph.add_edge(mate, trial.number, kind="crossover", mate_weight=share)
    return graph


def lineage_dataframe(study: Study) -> pandas.DataFrame:
    """Return the lineage of a whole study as a table: one row for each trial, by number.

    The columns are `number`, `generation`, `state`, `value`, `parent`, `mate`, `survives_until`
    (nullable integers), `mate_weight` and `elite` (as in `lineage_graph`), `in_best_ancestry`,
    `datetime_start`, `datetime_complete`, `duration`, and `params_x` for each variable x, named as
    in `optuna.Study.trials_dataframe`.

    Args:
        study: A study that a sampler of ours has bred in; its trials may be in any state.

    Raises:
        ImportError: pandas is not installed.
        ValueError: The study is empty or not ours.
    """
    with needs("pandas", "`lineage_dataframe`", extra="visualization"):
        import pandas

    history = History.of(study)
    names = sorted({name for trial in history.trials for name in trial.params})
    rows = [_row(history, trial, names) for trial in history.trials]
    nullable = dict.fromkeys(("parent", "mate", "survives_until"), "Int64")
    return pandas.DataFrame(rows).astype({"value": float, **nullable})


def _row(history: History, trial: FrozenTrial, names: list[str]) -> dict[str, Any]:
    parent, mate, is_elite = _origin(history, trial)
    return {
        "number": trial.number,
        "generation": history.generations.of(trial.number),
        "state": trial.state.name,
        "value": trial.value,
        "parent": parent,
        "mate": mate,
        "mate_weight": history.mate_weight(trial),
        "survives_until": history.survives_until.get(trial.number),
        "elite": is_elite,
        "in_best_ancestry": trial.number in history.best_ancestry,
        "datetime_start": trial.datetime_start,
        "datetime_complete": trial.datetime_complete,
        "duration": trial.duration,
        **{f"params_{name}": trial.params.get(name) for name in names},
    }


def _origin(history: History, trial: FrozenTrial) -> tuple[int | None, int | None, bool]:
    """Return a trial's parent and mate, and whether it is its parent, trained on."""
    lineage = history.lineage(trial)
    return (None, None, False) if lineage is None else (lineage.parent, lineage.mate, lineage.elite)
