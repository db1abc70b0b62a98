"""Writes the three real tables of docs/results.md as CSV files, from the packages that carry them.

    python examples/tables.py [FOLDER]

* ``sunspots.csv``: the yearly number of sunspots, 1700 to 2008 (statsmodels).
* ``co2.csv``: CO2 in the air over Mauna Loa, weekly, 1958 to 2001, 59 weeks missing (statsmodels).
* ``glucose.csv``: a glucose sensor's current ``isig`` and the ``glucose`` it stands for, every 5
  minutes over half a year, with gaps (bokeh_sampledata). The sensor's clock drifts by a minute now
  and then, so that readings are put on a regular grid, on which the gaps are empty rows.
"""

import sys
from importlib import resources
from pathlib import Path

import pandas as pd
import statsmodels.datasets


def sunspots() -> pd.DataFrame:
    return statsmodels.datasets.sunspots.load_pandas().data


def co2() -> pd.DataFrame:
    return statsmodels.datasets.co2.load_pandas().data.rename_axis("week").reset_index()


def glucose() -> pd.DataFrame:
    with resources.files("bokeh_sampledata").joinpath("_data", "CGM.csv.gz").open("rb") as file:
        readings = pd.read_csv(file, compression="gzip", parse_dates=["datetime"])
    readings["datetime"] = readings["datetime"].dt.round("5min")
    on_grid = readings.drop_duplicates("datetime").set_index("datetime").asfreq("5min")
    return on_grid.reset_index()


TABLES = {"sunspots": sunspots, "co2": co2, "glucose": glucose}


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in TABLES.items():
        table().to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "results")
    write(target)
    print(f"Wrote {', '.join(f'{target}/{name}.csv' for name in TABLES)}")
