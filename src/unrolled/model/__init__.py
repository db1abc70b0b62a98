"""What gets trained and saved: the network, its scalers, and the run folder they live in."""

from unrolled.model.folder import Run, RunConfig, TableConfig, load_run, save_run
from unrolled.model.network import Network, NetworkConfig
from unrolled.model.scaler import Scaler

__all__ = [
    "Network",
    "NetworkConfig",
    "Run",
    "RunConfig",
    "Scaler",
    "TableConfig",
    "load_run",
    "save_run",
]


def __dir__() -> list[str]:
    return sorted(__all__)
