"""The same run on every kind of storage that Optuna has, and many processes on one study."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from epbt_optuna import EPBTSampler, PBTSampler, ask_generation
from tests.drills import writers
from tests.drills.processes import memory_folder
from tests.drills.storages import opened_study
from tests.drills.training import RULES, Training, summary
from tests.replay import Rules, check_lineage
from tests.servers import GrpcProxy, PostgresServer

Sampler: TypeAlias = EPBTSampler | PBTSampler

N_GENERATIONS = 5

# Made anew for each use, as in another process.
SAMPLERS: dict[str, Callable[[], Sampler]] = {
    "EPBT": lambda: EPBTSampler(RULES.population_size, n_elites=RULES.n_elites, seed=7),
    "PBT": lambda: PBTSampler(RULES.population_size, seed=7),
}
each_sampler = pytest.mark.parametrize("algorithm", SAMPLERS)


@pytest.fixture(params=["memory", "sqlite", "journal", "postgres", "grpc"])
def storage(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a storage of each kind, as `opened_study` takes it."""
    with memory_folder() as folder:
        match request.param:
            case "memory":
                yield "memory"
            case "sqlite":
                yield f"sqlite:///{folder}/study.db"
            case "journal":
                yield f"journal:///{folder}/study.log"
            case "postgres":
                server: PostgresServer = request.getfixturevalue("postgres")
                yield server.new_database()
            case _:
                proxy: GrpcProxy = request.getfixturevalue("grpc_proxy")
                yield proxy.url


def rules_of(sampler: Sampler) -> Rules:
    return Rules(sampler.population_size, sampler.n_elites, RULES.direction)


def opened(url: str, sampler: Sampler, name: str = "") -> AbstractContextManager[optuna.Study]:
    """Open a new study, or an old one by its name."""
    return opened_study(url, name or str(uuid.uuid4()), rules_of(sampler), sampler)


def training_that_prunes(folder: Path) -> Callable[[optuna.Trial], float]:
    training = Training(folder)

    def objective(trial: optuna.Trial) -> float:
        value = training(trial)
        if trial.number % 7 == 4:
            raise optuna.TrialPruned
        return value

    return objective


def run(url: str, algorithm: str, folder: Path, *, in_sessions: int) -> list[FrozenTrial]:
    """Run a few generations; each session opens everything anew, as another process would."""
    name = str(uuid.uuid4())
    n_trials = SAMPLERS[algorithm]().n_trials(N_GENERATIONS)
    for session in range(in_sessions):
        with opened(url, SAMPLERS[algorithm](), name) as study:
            until = n_trials * (session + 1) // in_sessions
            study.optimize(training_that_prunes(folder), n_trials=until - len(study.get_trials()))
            trials = study.get_trials()
    return trials


@pytest.fixture(scope="module")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What each algorithm's run is in memory."""
    folder = tmp_path_factory.mktemp("in memory")
    return {
        algorithm: [
            summary(trial) for trial in run("memory", algorithm, folder / algorithm, in_sessions=1)
        ]
        for algorithm in SAMPLERS
    }


@each_sampler
def test_one_seed_makes_one_study_on_every_storage_in_one_session_or_in_two(
    algorithm: str, storage: str, in_memory: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    trials = run(storage, algorithm, tmp_path, in_sessions=1 if storage == "memory" else 2)
    assert [summary(trial) for trial in trials] == in_memory[algorithm]
    check_lineage(trials, rules_of(SAMPLERS[algorithm]()))


def test_populations_and_inherited_weights_follow_the_rules_on_every_storage(
    storage: str, tmp_path: Path
) -> None:
    sampler, training = SAMPLERS["EPBT"](), Training(tmp_path)
    with opened(storage, sampler) as study:
        collector = training.checkpoints.collector()
        study.optimize(training, sampler.n_trials(N_GENERATIONS), callbacks=[collector])
        trials = study.get_trials()
        populations = check_lineage(trials, rules_of(sampler))
        for trial in trials:
            parent = trial.system_attrs["epbt:lineage"]["parent"]
            expected = None if parent is None else trials[parent].user_attrs["saved"]
            assert trial.user_attrs["start"]["weights"] == expected
            assert (parent is None) == (trial.number < sampler.population_size)
        for generation, population in enumerate(populations):
            found = [trial.number for trial in sampler.get_population(study, generation)]
            assert found == [trial.number for trial in population]
        for trial in [*populations[-1], study.best_trial]:
            training.checkpoints.load(trial)


@each_sampler
def test_a_generation_asked_at_once_is_the_same_on_every_storage(
    algorithm: str, storage: str, tmp_path: Path
) -> None:
    def run_by_generations(url: str, folder: Path) -> list[FrozenTrial]:
        sampler, training = SAMPLERS[algorithm](), Training(folder)
        with opened(url, sampler) as study:
            for generation in range(3):
                trials = ask_generation(study, {"rate": FloatDistribution(0.01, 0.5, log=True)})
                assert [trial.number for trial in trials] == [*sampler.trial_numbers(generation)]
                for trial in reversed(trials):
                    if trial.number % 5 == 3:
                        study.tell(trial, state=TrialState.FAIL)
                    else:
                        study.tell(trial, training(trial))
            return study.get_trials()

    trials = run_by_generations(storage, tmp_path / "here")
    expected = run_by_generations("memory", tmp_path / "in memory")
    assert [summary(trial) for trial in trials] == [summary(trial) for trial in expected]
    check_lineage(trials, rules_of(SAMPLERS[algorithm]()))


@pytest.mark.parametrize("kind", ["postgres", "grpc"])
def test_processes_share_a_study_without_a_duplicate_or_an_error(
    kind: str, postgres: PostgresServer, grpc_proxy: GrpcProxy
) -> None:
    url = postgres.new_database() if kind == "postgres" else grpc_proxy.url
    drill = writers.Drill(url, n_processes=4, n_trials=25, population_size=12)
    writers.check_writing(drill, writers.run(drill))


def test_a_worker_goes_on_after_postgres_has_dropped_its_connection_if_it_pings_before(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """As after a restart of the server; Optuna itself asks for the ping on MySQL only."""
    sampler, training = SAMPLERS["EPBT"](), Training(tmp_path)
    storage = RDBStorage(postgres.new_database(), engine_kwargs={"pool_pre_ping": True})
    study = optuna.create_study(storage=storage, sampler=sampler, direction=RULES.direction)
    for _ in range(3):
        study.optimize(training, n_trials=5)
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{storage.engine.url.database}'"
        )
    check_lineage(study.get_trials(), rules_of(sampler))
    assert [trial.state for trial in study.get_trials()] == [TrialState.COMPLETE] * 15
    storage.engine.dispose()
