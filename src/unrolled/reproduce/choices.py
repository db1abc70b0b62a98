"""What the paper leaves open, and what was chosen here, as the page says it."""

from __future__ import annotations

from unrolled.reproduce.faithful import LEAST_PATIENCE, MOST_PATIENCE, PATIENCE
from unrolled.reproduce.online import BLOCK

CHOICES = [
    "Experiments 1, 2a and 2b ask something at every step. In experiment 1 the weights are updated "
    "after each step, the derivatives of the cells' states being carried on. With updates after "
    "each string 3 of 150 trials were solved. In 2a and 2b the weights are updated after each "
    "sequence. With updates after each step, at the paper's learning rate, none of 18 trials was "
    "solved within 8,000 sequences: the memory cell adds up a hundred symbols before it learns to "
    "leave them out, and the outputs saturate.",
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
    "The embedded Reber grammar's targets are 1 for the symbols that may come, one or two, and 0 "
    "for the others. With the symbol that does come as the only target, fewer trials are solved: "
    "in a pilot 1 instead of 5 of 30 within 40,000 strings (3 blocks of 2, rate 0.1). Strings are "
    "drawn from a set of 256; there are three pairs of sets, as in the paper.",
    "In 2a and 2b the memory cell is added when the squared error over 100 sequences is at "
    "most 5% below that of the 100 before; the paper says: when the error has stopped "
    "decreasing.",
    "h has the range [−1, 1] and g [−2, 2], as the text has it; the caption of the table of "
    "conditions has them the other way round. Ranges of initial weights are the text's, too.",
    "Numbers are in single precision, and subnormal ones count as zero.",
]
"""A Markdown text for each."""
