"""What the paper of 1997 says of other networks. They are not run again."""

from __future__ import annotations

from typing import NamedTuple


class Other(NamedTuple):
    """A line of the paper's tables 1 and 2.

    Attributes:
        experiment: the paper's number, and the setting.
        method: how which network was trained.
        weights: how many it had, as the paper says it.
        solved: the share of its trials that were solved,
        sequences: and after how many; or that after so many none was.
    """

    experiment: str
    method: str
    weights: str
    solved: str
    sequences: str


CASCADE = "Recurrent Cascade-Correlation (Fahlman 1991)"

OTHERS = [
    Other("1", "RTRL, 3 hidden units (Smith & Zipser 1989)", "≈ 170", "some fraction", "173,000"),
    Other("1", "RTRL, 12 hidden units (Smith & Zipser 1989)", "≈ 494", "some fraction", "25,000"),
    Other("1", "Elman network (Cleeremans et al. 1989)", "≈ 435", "0%", "more than 200,000"),
    Other("1", CASCADE, "≈ 119 to 198", "50%", "182,000"),
    Other("2a, p = 4", "RTRL, rate 1", "36", "78%", "1,043,000"),
    Other("2a, p = 4", "RTRL, rate 4", "36", "56%", "892,000"),
    Other("2a, p = 4", "RTRL, rate 10", "36", "22%", "254,000"),
    Other("2a, p = 10", "RTRL, rates 1 to 10", "144", "0%", "more than 5,000,000"),
    Other("2a, p = 100", "RTRL, rates 1 to 10", "10,404", "0%", "more than 5,000,000"),
    Other("2a, p = 100", "BPTT, rates 1 to 10", "10,404", "0%", "more than 5,000,000"),
    Other("2a, p = 100", "neural sequence chunker", "10,506", "33%", "32,400"),
]

TEXT = (
    "The paper has these figures of other networks, some of them taken from the papers named. They "
    "are not run again. Of the other experiments it says that RTRL and BPTT have no chance, as "
    "they fail with a lag of 10 steps already."
)
