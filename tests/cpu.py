"""Limits in CPU seconds that a busy machine does not change, and a slow one hardly.

A second is what a processor of 3 GHz needs to add four million numbers to tables. How much longer
this one takes is only asked when a limit is passed.
"""

import contextlib
import time


@contextlib.contextmanager
def at_most(seconds, what=''):
  """What is done within takes no more CPU seconds than that."""
  start = time.process_time()
  yield
  took = time.process_time() - start
  assert took < seconds or took < seconds * _slowness(), f'{took:.2f} s: {what}'


def _slowness():
  start, table = time.process_time(), {}
  for number in range(100_000):
    key = number % 97, number % 31
    table[key] = table.get(key, 0) + number * (number + 1)
  return (time.process_time() - start) / 0.025
