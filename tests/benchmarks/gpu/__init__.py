"""What a GPU does with one network, with many in a loop, in several processes, and as one.

    make gpu                                             # everything, then the page
    python -m tests.benchmarks.gpu gpu-device gpu-loss   # some of it
    python -m tests.benchmarks.gpu --small               # on a CPU, in a minute: that it runs

First the device's own rates are measured, with one large matrix product and one large copy; what
is computed later is given as a share of these. A way that the device or PyTorch cannot go (a CUDA
graph of what must wait for the CPU) leaves a line on the standard error stream and no figure.
fp32 is fp32 everywhere, without TF32.
"""
