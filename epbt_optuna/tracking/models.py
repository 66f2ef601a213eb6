"""Checkpoints as MLflow models: the output of the trial that saved one, an input of its children's.

So MLflow's own pages show whose weights a trial began with. The bytes stay in the checkpoint store;
a model here is their name, size and digest.
"""

from __future__ import annotations

from collections.abc import Mapping

from optuna.trial import FrozenTrial

from epbt_optuna.checkpoints.records import Record
from epbt_optuna.tracking.experiment import Experiment

__all__ = ["MODEL_TAG", "PARENT_MODEL_TAG", "Models"]

PARENT_MODEL_TAG = "epbt.parent_model_id"
MODEL_TAG = "epbt.model_id"


class Models:
    """Makes the models of one study, and remembers them.

    Args:
        experiment: Where they belong.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._ids: dict[int, str] = {}

    def remember(self, number: int, tags: Mapping[str, str]) -> None:
        """Take note of the model that a trial's run, which has these tags, put out."""
        if MODEL_TAG in tags:
            self._ids[number] = tags[MODEL_TAG]

    def bring(self, trial: FrozenTrial, run_id: str) -> None:
        """Make a trial's checkpoint the output of its run, if it is not yet."""
        from mlflow.entities import LoggedModelOutput

        record = Record.own(trial.number, trial.system_attrs)
        if record is None or not record.final:
            return
        client = self._experiment.client
        outputs = client.get_run(run_id).outputs
        if outputs and outputs.model_outputs:
            model_id = str(outputs.model_outputs[0].model_id)
        else:
            model_id = self._create(trial.number, run_id, record)
            step = len(trial.intermediate_values)
            client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])
        client.set_tag(run_id, MODEL_TAG, model_id)
        self._ids[trial.number] = model_id

    def link(self, run_id: str, parent: int | None, known: str | None) -> None:
        """Make the parent's model an input of a run, if it is there.

        Args:
            run_id: The run.
            parent: Number of the trial whose weights it began with.
            known: The model that the run's tag says is an input already.
        """
        from mlflow.entities import LoggedModelInput

        model_id = None if parent is None else self._ids.get(parent)
        if model_id is not None and model_id != known:
            client = self._experiment.client
            client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
            client.set_tag(run_id, PARENT_MODEL_TAG, model_id)  # searches do not tell of inputs

    def _create(self, number: int, run_id: str, record: Record) -> str:
        """Create a model as `mlflow.create_external_model` does.

        That function goes by the process's own tracking URI, and uploads a file that only the
        model registry needs.
        """
        from mlflow.entities import LoggedModelStatus
        from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

        model = self._experiment.client.create_logged_model(
            self._experiment.id,
            name=f"trial-{number}",
            source_run_id=run_id,
            model_type="checkpoint",
            tags={
                MLFLOW_MODEL_IS_EXTERNAL: "true",
                "epbt.trial": str(number),
                "epbt.checkpoint": record.artifact,
                "epbt.checkpoint_size": str(record.size),
                "epbt.checkpoint_sha256": record.sha256,
            },
        )
        self._experiment.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        return str(model.model_id)
