"""Where the measurements of a run go while it trains. A new sink is a module here and a line in `SINKS`."""

from collections.abc import Mapping

from polyak.runs.sinks.csv_files import CsvFiles
from polyak.runs.sinks.sink import Sink
from polyak.runs.sinks.tensorboard import TensorBoard

SINKS: Mapping[str, type[Sink]] = {  # by the name under which a checkpoint keeps each one's position
    "csv": CsvFiles,
    "tensorboard": TensorBoard,
}
