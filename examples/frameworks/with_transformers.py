"""Hugging Face `Trainer`: the learning rate and weight decay of a small GPT-2 evolve.

The trainer's arguments are those of one run of 80 steps; each trial trains the next 20 of them.
"""

import optuna
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from epbt_optuna import CheckpointStore, EPBTPruner, EPBTSampler
from epbt_optuna.integrations import TransformersCallback

checkpoints = CheckpointStore("checkpoints")
text = torch.arange(8000) ** 2 % 31  # a text of 31 letters, each of which the ones before it tell
windows = [{"input_ids": window, "labels": window} for window in text.view(-1, 16)]
config = GPT2Config(vocab_size=31, n_positions=16, n_embd=32, n_layer=2, n_head=2)


def objective(trial: optuna.Trial) -> float:
    arguments = TrainingArguments(
        output_dir="trainer",
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
        max_steps=80,
        eval_strategy="steps",
        eval_steps=10,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    callback = TransformersCallback(trial, checkpoints, monitor="eval_loss", steps=20)
    datasets = {"train_dataset": windows[:400], "eval_dataset": windows[400:]}
    Trainer(GPT2LMHeadModel(config), arguments, callbacks=[callback], **datasets).train()
    return callback.fitness


if __name__ == "__main__":
    sampler = EPBTSampler(population_size=4, seed=0)
    study = optuna.create_study(
        study_name="transformers", storage="sqlite:///study.db", load_if_exists=True,
        direction="minimize", sampler=sampler, pruner=EPBTPruner(),
    )  # fmt: skip
    n_trials = sampler.n_trials(4, study)
    study.optimize(objective, n_trials, callbacks=[checkpoints.collector()])
    best = GPT2LMHeadModel(config)
    best.load_state_dict(checkpoints.load(study.best_trial)["model"])
    print("The best continues 0, 1, 4, 9 by", best.generate(text[None, :4], max_length=8)[0, 4:])
