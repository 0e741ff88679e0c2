"""The sinks, which write the measurements of a run. To add one, write a module here and list it in `SINKS`."""

from collections.abc import Mapping

from polyak.runs.sinks.csv_files import CsvFiles
from polyak.runs.sinks.sink import Sink
from polyak.runs.sinks.tensorboard import TensorBoard

SINKS: Mapping[str, type[Sink]] = {  # each by the name of its position in a checkpoint
    "csv": CsvFiles,
    "tensorboard": TensorBoard,
}
