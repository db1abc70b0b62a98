"""What the paper leaves open, and what was chosen here, as the page says it."""

from __future__ import annotations

from unrolled.reproduce.faithful import LEAST_PATIENCE, MOST_PATIENCE, PATIENCE
from unrolled.reproduce.online import BLOCK

CHOICES = [
    "The weights are updated after each sequence, not after each step, in experiments 1, 2a "
    "and 2b, too, which ask something at every step.",
    f"Whether a trial is over is asked after every {BLOCK} sequences; tests are taken after "
    "every 50 (2a, 2b), 100 (1) or 500 (2c, 3a, 3c).",
    f"A trial fails after {PATIENCE} times the published number of sequences, with sequences of "
    f"1,000 steps after {LEAST_PATIENCE} times, and in experiment 2 up to q = 100 after "
    f"{MOST_PATIENCE} times. The paper gives 5,000,000 for experiment 2, and nothing for the "
    "others.",
    "The average training error of experiments 4 and 6 is the mean absolute error of the last"
    " 2,000 sequences, of the worst output.",
    "The test set of 256 sequences in 3a and 3c is drawn anew for each test: one that stays "
    "may hold a sequence that no good network gets right. A lucky test may then end a trial "
    "early.",
    "The embedded Reber grammar's target is the symbol that comes, one of those that may. "
    "Strings are drawn from a set of 256; there are three pairs of sets, as in the paper.",
    "In 2a and 2b the memory cell is added when the squared error over 100 sequences is at "
    "most 5% below that of the 100 before; the paper says: when the error has stopped "
    "decreasing.",
    "h has the range [−1, 1] and g [−2, 2], as the text has it; the caption of the table of "
    "conditions has them the other way round. Ranges of initial weights are the text's, too.",
    "Numbers are in single precision, and subnormal ones count as zero.",
]
"""A Markdown text for each."""
