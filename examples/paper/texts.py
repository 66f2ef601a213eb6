"""What the results page says beside its tables; numbers in it are computed or cited."""

from __future__ import annotations

PREFACE = """\
# Results

Made by `python -m examples.paper report`; do not edit. Every number is computed from the files
`{folder}/CONFIG.jsonl`, which have a line for each arm and seed. Two settings are recommended, and
which one counts was said before any run: `recommended-clean` where labels are right,
`recommended-noisy` where some are wrong. All arms of a config and seed share images, wrong labels,
initial weights and learning rates by epoch; EPBT, PBT and the searches share one budget of epochs.
Test labels are right, and nothing is chosen on them."""

PICTURE = """\
Recommended setting minus each rival, in points of test accuracy, paired by seed, with 95 %
intervals: right of zero the recommended setting is ahead. Clean labels on the left, 40 % wrong ones
on the right. A number behind a name says that the strongest of so many arms is shown, by the test
data, which favours the rival. Constants of losses for wrong labels were tuned only where labels are
wrong. A hollow mark has fewer than {n_seeds} seeds."""

CLAIMS = """\
Aims that were set before the runs. An arm wins or loses where the 95 % interval of the paired
difference (Student's t) leaves out zero, and ties otherwise. Nothing is corrected for the number of
comparisons: of twenty ties one is expected to look like a win or a loss. A difference over fewer
than {n_seeds} seeds says how many."""

NUMBERS = """\
First the test accuracy of the recommended setting in % (standard deviation, seeds) of the network
that did best on the validation images, which have wrong labels too. Then the picture's differences;
where the strongest of several arms stands for all, its name is in brackets. Tournaments of 4, and
only θ that can learn, are all that sets `epbt` apart from the paper's letter, `epbt-paper`."""

NOISE = """\
Recommended setting minus the strongest of each group. Losses are as their authors publish them
(GCE, SCE, NCE+RCE, NCE+AGCE, CE_ε+MAE, ELR), with an exponential average of the weights (EMA), or
at a fifth of the learning rate, with and without EMA. ELR, trained in these four ways, has a column
of its own, which was split off after the runs: it remembers for every image what was
predicted in earlier epochs, which none of the others can, and no loss of one prediction and one
label, TaylorGLO among them. Tuned: random search, TPE and PBT over the constants of a loss and the
learning rate, with EPBT's budget."""

EVOLVED_ELR = """\
ELR's two constants, weight and momentum, and the learning rate, evolved with the budget and the
settings of `recommended-noisy`; what ELR remembers is inherited with the weights. Accuracy in %,
and how far that is ahead: of the recommended setting, which evolves TaylorGLO in the same way; of
PBT, and of random search or TPE with EMA, on the same three numbers; and of the strongest of all
single losses, chosen on the test data. The picture has that last difference for both evolved
losses. These arms were set before the first of them ran, but after ELR had turned out to be the
strongest single loss."""

MEANS = """\
Three changes set the recommended settings apart from `epbt`: elites that go on training (in a
population of the same budget), a fitness smoothed along the lineage, and weights averaged with the
mate's. `recommended-clean` has the first, `recommended-noisy` all three. Each row is an arm with a
change minus the same arm without it, in points."""

SWEEPS = """\
The recommended setting of each config with its budget divided otherwise. Fewer networks train
longer: a population of p has as many generations, of the same length, as the budget allows. More
generations are shorter, down to half an epoch. The learning rate falls at half and at three
quarters of a network's own epochs. Half of the population is elites, all of which train. Mutation
is as strong in a short generation as in a long one, so more generations mutate more."""

REPLAYED = """\
A schedule can be replayed with the validation images as training images too. Each winner's
schedule (same seed) trains one fresh network to the schedule's end, against cross-entropy on the
same images, never stopped. Weights that the winner got from mates are not replayed."""

CHOSEN = """\
Runs on seeds 100 and up, which no other table has, with lines in `{folder}`: best accuracy on
validation images, whose labels are as wrong as those of the training images, in % (seeds). The
plan was to use the candidate with the best mean over the configs that a setting is for. After the
runs it was decided that the library's default mutation stays unless another is ahead of it beyond
the 95 % interval, paired by seed: users then have one number fewer to set. On seeds 100 to 102,
{ema} was the best decay of EMA among 0.9, 0.97, 0.99 and 0.997, or as good."""

UNKNOWN = """\
- Whether any of this holds for large networks: here are multilayer perceptrons on digits and
  Fashion-MNIST. Convolutional networks, CIFAR-10 and SVHN have configs, and no results.
- Whether it holds with real annotators' mistakes: all noise here is drawn.
- How the recommended settings do with other budgets than {n_networks} networks' epochs.
- What tuning the learning rate or the batch size of every rival would give them. Of the losses for
  wrong labels, SCE, GCE and ELR had their learning rate tuned; the others were tried at two."""

COMMANDS = """\
A run that is cut off goes on when it is called again. With `--results docs/results` its files are
those of this page, which the last line makes.

```console
$ python -m examples.paper list
$ python -m examples.paper run digits-noisy --arms core recommended robust ema --seeds 10
$ python -m examples.paper run fashion-resnet32 --devices cuda:0 --workers 4
$ python -m examples.paper report
```

CIFAR-10 and SVHN are downloaded by torchvision. Tests run their configs, ResNet-32 and WRN-16-8 on
small files of the same format; no accuracy on them is claimed."""

ALL_ARMS = """\
Mean test accuracy in % (standard deviation, seeds) at the best validation accuracy, the best of a
config bold. Only what trains on validation images too is taken as it ends. PBT, random search and
TPE have the epochs of EPBT, rounded up."""

ABLATED = """\
Each row is `epbt` minus `epbt` with one thing changed, in points: a win means that the change does
harm. The budget is the same for all: the fewer elites, the smaller the population."""

TABLE_2 = """\
The first epoch, by the clock of a lineage, at which the mean test accuracy of the fittest of
`epbt-paper` exceeds the baseline's mean. EPBT trains a whole population meanwhile."""

EFFORT = """\
The paper counts 520 losses in its 25 generations of 40 with 20 elites, and so does the sampler:
`EPBTSampler(40).n_trials(25)` is {n_losses}. Here, means over seeds; the third column is how long
the chosen network itself has been trained: elites that stand still leave generations out. The
fourth is what it would take to train a network from scratch with each loss. Then the share of each
stage in the time of an `epbt` job, test accuracy aside."""

FIGURE_5 = """\
The losses along each chosen ancestry of `{arm}` in the two-class view (y is the true class's
probability), early ones dark and late ones light, each shifted and scaled to [0, 1]."""

SHAPES = """\
The paper saw minima at about y = 0.8, and slopes at y = 1 that grow with training while, by its
own reading, a positive slope regularises. Here the minimum of each loss on [0, 1] and the slope
of equation (1) at y = 1, all seeds together, by thirds of the generations; then the change from
the first to the last loss of an ancestry, with 95 % intervals over seeds."""
