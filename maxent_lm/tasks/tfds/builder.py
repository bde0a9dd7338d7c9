"""The one tensorflow-datasets builder: rows of a local JSON-lines file, stored as array_record.

Imported only where rows are prepared, for it needs tensorflow_datasets (and no TensorFlow).
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from maxent_lm.tasks.tfds import jsonl

SPLIT = 'rows'
FEATURES = {
  'text': tfds.features.Text,
  'integer': lambda: tfds.features.Scalar(np.int64),
  'number': tfds.features.Text,  # a float64 feature would be stored as float32
  'boolean': lambda: tfds.features.Scalar(np.bool_),
  'texts': lambda: tfds.features.Sequence(tfds.features.Text()),
  'optional': tfds.features.Text,
}


class Jsonl(tfds.core.GeneratorBasedBuilder):
  """Split 'rows': the rows of `source`, in file order, with the given fields."""

  VERSION = tfds.core.Version('1.0.0')
  code_path = epath.Path(__file__)  # tfds itself would look with a package that it does not require

  def __init__(self, *, source: str, fields: Mapping[str, str], data_dir: str) -> None:
    self.source, self.fields = source, dict(fields)
    super().__init__(data_dir=data_dir, file_format='array_record')

  def _info(self) -> tfds.core.DatasetInfo:
    # DatasetInfo and not dataset_info_from_configs: the latter looks for metadata files beside us.
    return tfds.core.DatasetInfo(
      builder=self,
      description=f'Rows of {os.path.basename(self.source)}.',
      features=tfds.features.FeaturesDict(
        {name: FEATURES[kind]() for name, kind in self.fields.items()}
      ),
      disable_shuffling=True,  # otherwise rows are sorted by a hash of their keys
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    return {SPLIT: self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
    numbers = [name for name, kind in self.fields.items() if kind == 'number']
    for index, row in enumerate(jsonl.read_rows(self.source, self.fields)):
      yield index, row | {name: str(row[name]) for name in numbers}
