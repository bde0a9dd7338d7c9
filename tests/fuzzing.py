"""Hostile input for parsers: any bytes, and valid files that were damaged.

`MAXENT_LM_FUZZ=10000 pytest FILE` draws so many inputs a parser; without it a few, in no time.
"""

import contextlib
import json
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FUZZ = int(os.environ.get('MAXENT_LM_FUZZ', '0'))
ODD = (
  *(b'\x00', b'\xff', b'\xef\xbb\xbf', b'\n', b'\r\n', b'"', b'{', b'}', b'[', b']', b',', b':'),
  *(b'NaN', b'-Infinity', b'1e999', b'9' * 30, b'-1', b'null', b'true', b'{}', b'[]', b'""'),
  *(b'\\ud800', b'\\', b'[' * 2000, b'{"a":' * 200, b'18446744073709551616', b'0.0', b'\xc3'),
)


def fuzzed(usual=25):
  """Settings of a test that draws `usual` inputs, or MAXENT_LM_FUZZ."""
  checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
  return settings(
    max_examples=FUZZ or usual,
    deadline=None,
    suppress_health_check=checks,
    derandomize=not FUZZ,
    database=None,
  )


SCALARS = st.one_of(
  st.none(),
  st.booleans(),
  st.integers(-3, 3),
  st.sampled_from([2**31, -(2**31), 2**63, 2**64 - 1, 2**64, 10**400, 1e308, -0.0, 1e-320]),
  st.floats(),
  st.text(max_size=8),
)
JSON = st.recursive(
  SCALARS,
  lambda inner: (
    st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
  ),
  max_leaves=8,
)


@st.composite
def damaged(draw, valid):
  """The bytes `valid` after some cuts, flips, insertions and repetitions; or any bytes."""
  if draw(st.integers(0, 9)) == 0:
    return draw(st.binary(max_size=64))
  data = bytearray(valid)
  for _ in range(draw(st.integers(1, 3))):
    at, to = sorted(draw(st.integers(0, len(data))) for _ in range(2))
    kind = draw(st.sampled_from(['cut', 'flip', 'insert', 'remove', 'repeat', 'odd']))
    if kind == 'cut':
      del data[at:]
    elif kind == 'flip' and at < len(data):
      data[at] ^= 1 << draw(st.integers(0, 7))
    elif kind == 'insert':
      data[at:at] = draw(st.binary(max_size=8))
    elif kind == 'remove':
      del data[at : min(to, at + 64)]
    elif kind == 'repeat':
      data[at:at] = data[at : min(to, at + 64)]
    elif kind == 'odd':
      data[at:at] = draw(st.sampled_from(ODD))
  return bytes(data)


def _paths(value, path=()):
  yield path
  if isinstance(value, dict | list):
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
      yield from _paths(each, (*path, key))


@st.composite
def reshaped(draw, valid):
  """The JSON of `valid` with some of its values replaced, removed or renamed."""
  value = json.loads(json.dumps(valid))
  for _ in range(draw(st.integers(1, 3))):
    path = draw(st.sampled_from([path for path in _paths(value) if path] or [()]))
    if not path:
      return json.dumps(draw(JSON)).encode()
    parent = value
    for key in path[:-1]:
      parent = parent[key]
    kind = draw(st.sampled_from(['replace', 'replace', 'remove', 'rename']))
    if kind == 'replace':
      parent[path[-1]] = draw(JSON)
    elif kind == 'remove':
      del parent[path[-1]]
    elif isinstance(parent, dict):
      parent[draw(st.text(max_size=6))] = parent.pop(path[-1])
  return json.dumps(value).encode()


def broken(*valid):
  """Damaged or reshaped: each of `valid` is an object, which stands for its JSON."""
  texts = [json.dumps(each).encode() for each in valid]
  return st.one_of(
    *[damaged(text) for text in texts], *[reshaped(each) for each in valid], JSON.map(dumped)
  )


def broken_lines(rows):
  """Damaged lines of JSON; one of the rows may be reshaped instead."""
  texts = [json.dumps(row).encode() + b'\n' for row in rows]
  swapped = st.integers(0, len(rows) - 1).flatmap(
    lambda place: reshaped(rows[place]).map(
      lambda line: b''.join([*texts[:place], line, b'\n', *texts[place + 1 :]])
    )
  )
  return damaged(b''.join(texts)) | swapped


def dumped(value):
  return json.dumps(value).encode()


@contextlib.contextmanager
def one_sentence(*kinds):
  """The law: what is inside gives a value, or an error of `kinds` that says why, in a line."""
  try:
    yield
  except Exception as error:
    if not isinstance(error, kinds or (ValueError, OSError)):
      raise
    text = str(error)
    assert text.strip() and '\n' not in text, repr(text)
    assert len(text) < 2000, len(text)
