"""Time to accuracy: who first has a network that is right, while it learns from wrong labels.

    python -m tests.benchmarks.race digits-noisy                  # all arms, ten seeds, the page
    python -m tests.benchmarks.race fashion-noisy --accuracy 0.8 --seeds 10
    python -m tests.benchmarks.race digits-noisy --report         # the page again

The task is a config of `examples.paper`: its images, wrong labels, network, batches, learning rate
by epoch and budget of epochs. What is searched is TaylorGLO's θ. All arms train and measure with
`networks.Network`, but for the batched one, which trains several as one. The clock runs from the
call that a user makes until the network that has the best validation accuracy so far has the test
accuracy that was asked for. Test accuracy is measured at every evaluation of every arm, and nothing
is chosen on it.

One arm on one seed is a job in a process of its own, which leaves a line in a file; jobs that have
their line are not run again. Arms take turns within each seed.
"""
