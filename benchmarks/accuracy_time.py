"""How accurate is a model for the time its training took, under every policy, beside two controls of the same
wall-clock?

    python -m benchmarks.accuracy_time --data DIR --model DIR_OR_NAME [--datasets sst2 atis …] [--seeds 0 1 2] --out DIR

DIR of --data holds a folder a data set (see table/tasks.py for their names); what is not there is looked up on the hub.
Every finished cell (data set, policy, budget, seed) is one JSON line in OUT/cells.jsonl; the same command goes on where
it was stopped, `--list` says what is missing, and OUT/README.md with its pictures is made of what is there (`--page`:
only that). Sizes are small by default, for two CPU cores; `--full` takes all data, for a GPU.

All policies share one recipe: AdamW, 6 % warm-up then linear to zero by stream progress, dynamic padding, batches of
similar length, and a learning rate that was chosen for training on everything on a tuning split cut from train
(`--tune` does that again). The clock holds all that a policy costs, tokenizer, predictor, proxy and scoring passes
among it. The reported split is used once a cell, after training.

Each row has two controls of the same measured wall-clock: a random share, and a random share with balanced classes.
They are read off a ladder of runs that keep .1, .2, .3, .5 and .7 of the data, and all of it, of the same seed: between
two rungs every test example's score is interpolated in the logarithm of time. That costs 10 runs a seed instead of two
a row. Rows named in --own have controls run at their own time besides, which also tells how far the ladder is off.
"""

from __future__ import annotations

import sys

from benchmarks.table import command, systems, tasks

ABOUT = (
    "Accuracy against measured time for every policy, beside two controls of the same wall-clock; see this file's head."
)
TABLE = command.Table("accuracy_time", ABOUT, tasks.SMALL, tasks.FULL, systems.SYSTEMS, own=["three_stage/example"])

if __name__ == "__main__":
    sys.exit(command.main(TABLE))
