"""From a table to a trained model: table → windows → training loop → results and estimators."""

from typing import TYPE_CHECKING

from unrolled.lazy import submodules

if TYPE_CHECKING:
    from unrolled.learn import baselines as baselines
    from unrolled.learn import comparison as comparison
    from unrolled.learn import estimator as estimator
    from unrolled.learn import inspection as inspection
    from unrolled.learn import loop as loop
    from unrolled.learn import predict as predict
    from unrolled.learn import samples as samples
    from unrolled.learn import settings as settings
    from unrolled.learn import train as train
    from unrolled.learn import watch as watch

__all__ = [
    "baselines",
    "comparison",
    "estimator",
    "inspection",
    "loop",
    "predict",
    "samples",
    "settings",
    "train",
    "watch",
]

__getattr__, __dir__ = submodules(__name__, __all__)
