"""What people really tune: a network's and PPO's hyperparameters, each method beside its rivals.

    python -m examples.tuning list
    python -m examples.tuning run cnn --seeds 10 --workers 2
    python -m examples.tuning report

A task (`tasks`) says what is learnt, and how a network is trained by one step and evaluated; an arm
(`arms`) says how its hyperparameters are found. All arms of a task train equally many steps. One
arm on one seed is a job (`jobs`): cut off at any point, it goes on from its last step (Ray Tune's
starts again), and it leaves a line in the task's file (`results`), of which `report` makes tables
and figures.
"""
