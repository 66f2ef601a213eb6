"""Workers that are Ray tasks: beyond one machine, on a share of a GPU each, run again when lost.

Each trial is one task. Ray places it where its resources are free, and runs it again elsewhere if
its process or its machine goes away; the trial keeps its number, its params and its parent, and
goes on from what it last saved with `final=False`.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna import Study, Trial

from epbt_optuna._internal.extras import needs
from epbt_optuna._internal.optuna import storage_of, storage_url, trial_id_of
from epbt_optuna.parallel.devices import Slot, pin_to_device
from epbt_optuna.parallel.engines.pickling import loaded, packed, pickled, unpacked
from epbt_optuna.parallel.engines.protocol import EngineError, WorkerDied
from epbt_optuna.parallel.worker import Outcome, Work

with needs("ray", "engine='ray'"):
    import ray
    from ray.exceptions import RayError, RayTaskError, RuntimeEnvSetupError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

if TYPE_CHECKING:
    from ray import ObjectRef

__all__ = ["RayTasks"]

_DEFAULTS = {"num_cpus": 1, "max_retries": 3}
_NOT_LOADED = (RayTaskError, RuntimeEnvSetupError)
_COUNT_SECONDS = 1.0  # for how long a count of the cluster's resources is good


class RayTasks:
    """The tasks of one run, on the Ray cluster that this process is connected to.

    The driver's thread notes a task as running before its end can be noticed, and looks at a copy
    of those that run; a thread of Ray's takes it out when it has ended. Each is one step of
    Python's, so no lock is needed: at worst a task that has just ended is cancelled, in vain.

    Without a connection, `ray.init()` makes one: to the cluster at `RAY_ADDRESS`, to one that was
    started on this machine, or to a new local one, which ends with the run.

    Args:
        work: What the tasks have in common; Ray hands it to each worker process once.
        workers: The most trials that run at a time. Default: as many as the cluster has room for.
        ray_options: Options of a task, as for `ray.remote`, such as `{"num_gpus": 0.25}`.

    Raises:
        TypeError: Study or objective cannot be pickled, or `ray_options` is no mapping.
        ValueError: The storage cannot be reached from other processes or machines, no node has
            the resources of `ray_options`, or it holds something that is not for tasks.
        EngineError: A node cannot load what a trial needs.
    """

    def __init__(
        self, work: Work, *, workers: int | None, ray_options: Mapping[str, Any] | None
    ) -> None:
        self._workers = workers
        self._options = _checked(ray_options)
        payload = pickled(work)
        self._running: dict[int, ObjectRef[bytes]] = {}
        self._counted = -math.inf, 0
        self._connected_here = not ray.is_initialized()
        if self._connected_here:
            ray.init(logging_level=logging.WARNING)
        try:
            self._check_nodes(work.study)
            self._payload = ray.put((payload, optuna.logging.get_verbosity()))
            self._task = ray.remote(**self._options)(_run)
            self._probe()
        except BaseException:
            self.close()
            raise

    @property
    def n_workers(self) -> int:
        """How many trials can run at a time; changes as nodes come and go."""
        counted_at, n_workers = self._counted
        if time.monotonic() - counted_at > _COUNT_SECONDS:
            capacity = sum(_capacity(node, self._options) for node in _living_nodes())
            # Tasks that have lost their last node wait for another one.
            n_workers = max(1, int(min(capacity, self._workers or math.inf)))
            self._counted = time.monotonic(), n_workers
        return n_workers

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Run a trial where there is room for it."""
        future: Future[Outcome] = Future()
        # In a list, Ray passes the reference on, and not what it refers to each time anew.
        trial_id = trial_id_of(trial)
        self._running[trial_id] = task = self._task.remote([self._payload], trial_id)
        task.future().add_done_callback(partial(self._settle, future, trial_id))
        return future

    def give_up(self, trial_id: int) -> None:
        """Kill the process that runs a trial."""
        if (task := self._running.get(trial_id)) is not None:  # it may have finished meanwhile
            ray.cancel(task, force=True)

    def interrupt(self) -> None:
        """Kill the processes that run trials; Ray starts others when it needs them."""
        for task in list(self._running.values()):
            ray.cancel(task, force=True)

    def close(self) -> None:
        """Cut off what runs, and shut Ray down if it was started here."""
        if ray.is_initialized():  # not when it is called a second time
            self.interrupt()
        if self._connected_here:
            ray.shutdown()

    def _settle(self, future: Future[Outcome], trial_id: int, done: Future[bytes]) -> None:
        del self._running[trial_id]
        try:
            future.set_result(unpacked(done.result()))
        except _NOT_LOADED as error:  # what the objective raises is part of its outcome
            future.set_exception(EngineError(_cannot_run(error)))
        except RayError as error:
            future.set_exception(WorkerDied(f"Ray lost its worker: {error}"))
        except Exception as error:
            future.set_exception(error)

    def _check_nodes(self, study: Study) -> None:
        """Raise unless some node has room for a trial, and all that have may share the storage."""
        fitting = [node for node in _living_nodes() if _capacity(node, self._options)]
        if not fitting:
            raise ValueError(
                f"`ray_options` must fit a node of the cluster but none has the resources of "
                f"{self._options}. The nodes have {[n['Resources'] for n in _living_nodes()]}. "
                "If the cluster grows on demand, ask it to: "
                "`ray.autoscaler.sdk.request_resources`."
            )
        if self._workers is None and math.isinf(sum(_capacity(n, self._options) for n in fitting)):
            raise ValueError(
                f"`workers` must be given as the trials reserve nothing: `ray_options` is "
                f"{self._options}."
            )
        here = ray.get_runtime_context().get_node_id()
        elsewhere = any(node["NodeID"] != here for node in fitting)
        url = storage_url(study)
        if elsewhere and url.startswith("sqlite"):
            raise ValueError(
                f"`study` must have a storage for several machines but has {url!r}, which is for "
                "one. Use PostgreSQL or MySQL, or `optuna.storages.GrpcStorageProxy` in front of "
                "any storage; and checkpoints in a shared folder or on S3."
            )

    def _probe(self) -> None:
        """Load the work once on each node that trials can go to: mistakes show before the first."""
        if self._options.keys() & {"label_selector", "scheduling_strategy"}:
            places = [self._options]  # which nodes those mean, only Ray knows
        else:
            places = [
                {"scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)}
                for node in _living_nodes()
                if _capacity(node, self._options)
            ]
        runtime_env = {k: v for k, v in self._options.items() if k == "runtime_env"}
        tasks = [
            # It takes no resources: others may use them at the moment.
            ray.remote(**{**place, **runtime_env, "num_cpus": 0, "num_gpus": 0})(_load).remote(
                [self._payload]
            )
            for place in places
        ]
        for task in tasks:
            _check_loaded(task)


def _checked(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"`ray_options` must be a mapping but got {options!r}.")
    checked = {**_DEFAULTS, **(options or {})}
    if "num_returns" in checked:
        raise ValueError("`ray_options` must not set 'num_returns': what a trial returns is told.")
    ray.remote(**checked)(_run)  # raises ValueError by the name of what it does not know
    return checked


def _check_loaded(task: ObjectRef[None]) -> None:
    try:
        ray.get(task)
    except _NOT_LOADED as error:
        raise EngineError(_cannot_run(error)) from error
    except RayError:  # the node has gone since
        pass


def _cannot_run(error: RayError) -> str:
    return (
        f"A node cannot load what a trial needs. Every node must reach the study's storage under "
        "the same address and have the same packages and modules as the driver (see `runtime_env` "
        f"in Ray's documentation).\n{error}"
    )


def _living_nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in nodes if node["Alive"]]


def _capacity(node: Mapping[str, Any], options: Mapping[str, Any]) -> float:
    """Return for how many tasks a node has the resources; infinity if they reserve nothing."""
    there: Mapping[str, float] = node["Resources"]
    return min(
        (
            _times(there.get(name, 0.0), amount, whole=name == "GPU")
            for name, amount in _reserved(options)
            if amount
        ),
        default=math.inf,
    )


def _reserved(options: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    yield "CPU", options["num_cpus"]
    yield "GPU", options.get("num_gpus") or 0
    yield "memory", options.get("memory") or 0
    yield from (options.get("resources") or {}).items()
    if (accelerator := options.get("accelerator_type")) is not None:
        yield f"accelerator_type:{accelerator}", 0.001  # as Ray itself does


def _times(there: float, amount: float, *, whole: bool) -> int:
    """Return how many times an amount is there; a share of a GPU never spans two of them."""
    epsilon = 1e-9  # ten times 0.1 is there once
    if whole and amount < 1:
        return int(there) * math.floor(1 / amount + epsilon)
    return math.floor(there / amount + epsilon)


# In the worker process


def _run(payload: list[ObjectRef[Any]], trial_id: int) -> bytes:
    """Run a trial, unless it was told before its worker went away."""
    work = _loaded(payload[0])
    pin_to_device(Slot(0, "cuda:0" if ray.get_gpu_ids() else "cpu", n_threads=_n_threads()))
    trial = storage_of(work.study).get_trial(trial_id)
    if trial.state.is_finished():
        return packed(Outcome())
    with warnings.catch_warnings():
        if trial.intermediate_values:  # this is its second run: the reports of the first stand
            warnings.filterwarnings("ignore", "The reported value is ignored", UserWarning)
        return packed(work.run(trial_id))


def _load(payload: list[ObjectRef[Any]]) -> None:
    _loaded(payload[0])


@lru_cache(maxsize=1)
def _loaded(payload: ObjectRef[Any]) -> Work:
    """Return what the run's trials have in common, loaded once: samplers remember populations."""
    data, verbosity = ray.get(payload)
    optuna.logging.set_verbosity(verbosity)
    return loaded(data)


def _n_threads() -> int:
    """Return how many threads this task computes with: as many as it has cores.

    Ray says so in the environment, which torch reads when it is imported: by an earlier task.
    """
    n_threads = int(os.environ.get("OMP_NUM_THREADS", 1))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n_threads)
    return n_threads
