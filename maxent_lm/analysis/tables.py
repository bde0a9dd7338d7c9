"""Rows of numbers as text that people read."""

from collections.abc import Mapping, Sequence
from typing import Any


def markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
  """A Markdown table with one line a row; numbers to three digits, missing entries blank."""
  cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
  widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
  lines = [
    '| ' + ' | '.join(text.rjust(width) for text, width in zip(line, widths, strict=True)) + ' |'
    for line in cells
  ]
  rule = '|' + '|'.join('-' * (width + 1) + ':' for width in widths) + '|'
  return '\n'.join([lines[0], rule, *lines[1:]])


def _cell(value: Any) -> str:
  if value is None:
    return ''
  if not isinstance(value, float):
    return str(value)
  return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3f}'
