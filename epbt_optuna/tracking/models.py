"""Checkpoints as MLflow models: the output of the trial that saved one, an input of its children's.

So MLflow's own pages show whose weights a trial began with. The bytes stay in the checkpoint store;
a model here is their name, size and digest.
"""

from __future__ import annotations

from optuna.trial import FrozenTrial

from epbt_optuna.checkpoints.records import CheckpointRecord
from epbt_optuna.tracking.experiment import Experiment

__all__ = ["MODEL_TAG", "PARENT_MODEL_TAG", "bring_model", "link_model"]

# Tags, since what a search finds of a run does not tell of its models.
MODEL_TAG = "epbt.model_id"
PARENT_MODEL_TAG = "epbt.parent_model_id"


def bring_model(
    experiment: Experiment, trial: FrozenTrial, run_id: str, n_reports: int
) -> str | None:
    """Make a trial's checkpoint the output of its run, if it is not yet; return the model's id."""
    from mlflow.entities import LoggedModelOutput

    record = CheckpointRecord.own(trial.number, trial.system_attrs, experiment.identity)
    if record is None or not record.final:
        return None
    outputs = experiment.client.get_run(run_id).outputs
    if outputs and outputs.model_outputs:
        model_id = str(outputs.model_outputs[0].model_id)
    else:
        model_id = _create(experiment, trial.number, run_id, record)
        experiment.client.log_outputs(run_id, [LoggedModelOutput(model_id, n_reports)])
    experiment.client.set_tag(run_id, MODEL_TAG, model_id)
    return model_id


def link_model(experiment: Experiment, run_id: str, model_id: str) -> None:
    """Make a model, the parent's, an input of a run."""
    from mlflow.entities import LoggedModelInput

    experiment.client.log_inputs(run_id, models=[LoggedModelInput(model_id)])
    experiment.client.set_tag(run_id, PARENT_MODEL_TAG, model_id)


def _create(experiment: Experiment, number: int, run_id: str, record: CheckpointRecord) -> str:
    """Create a model as `mlflow.create_external_model` does.

    That function goes by the process's own tracking URI, and uploads a file that only the model
    registry needs.
    """
    from mlflow.entities import LoggedModelStatus
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

    model = experiment.client.create_logged_model(
        experiment.id,
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
    experiment.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)
