"""Tables and images become feature vectors that keep their names (price, sqft, zipcode=98103)."""

from neuronwise.data.array_encoder import ArrayEncoder
from neuronwise.data.array_targets import ArrayTarget, array_target
from neuronwise.data.arrays import check_arrays
from neuronwise.data.budget import memory_budget
from neuronwise.data.columns import Column, Kind
from neuronwise.data.encoder import ExplainedCell, FeatureEncoder
from neuronwise.data.houses import HOUSE_TRUTH, HouseTruth, expected_log_price, make_houses, write_houses
from neuronwise.data.idx import read_idx, write_idx
from neuronwise.data.images import is_image_source, is_picture_source, read_images
from neuronwise.data.inputs import Input
from neuronwise.data.kinds import describe_columns
from neuronwise.data.mnist import mnist
from neuronwise.data.pixels import ImageData, PixelEncoder
from neuronwise.data.reading import RawTable, read_table
from neuronwise.data.shapes import MAX_CATEGORIES
from neuronwise.data.splitting import split_rows
from neuronwise.data.streaming import StreamedTable, open_table
from neuronwise.data.target import MAX_CLASSES, TargetSpec, Task
from neuronwise.data.task import describe_target

__all__ = [
    "HOUSE_TRUTH",
    "MAX_CATEGORIES",
    "MAX_CLASSES",
    "ArrayEncoder",
    "ArrayTarget",
    "Column",
    "ExplainedCell",
    "FeatureEncoder",
    "HouseTruth",
    "ImageData",
    "Input",
    "Kind",
    "PixelEncoder",
    "RawTable",
    "StreamedTable",
    "TargetSpec",
    "Task",
    "array_target",
    "check_arrays",
    "describe_columns",
    "describe_target",
    "expected_log_price",
    "is_image_source",
    "is_picture_source",
    "make_houses",
    "memory_budget",
    "mnist",
    "open_table",
    "read_idx",
    "read_images",
    "read_table",
    "split_rows",
    "write_houses",
    "write_idx",
]
