"""Headers of safetensors files: the library's own files pass, and what hides something does not."""

import io
import json
import os
import pathlib
import pickle
import struct
import zipfile

import fuzzing
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from maxent_lm.lm import safe_tensors
from maxent_lm.lm.safe_tensors import Tensor, read_header

VALID = {
  'a': {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [0, 24]},
  'b': {'dtype': 'BF16', 'shape': [4], 'data_offsets': [24, 32]},
  'none': {'dtype': 'I8', 'shape': [0, 7], 'data_offsets': [32, 32]},
  '__metadata__': {'format': 'pt'},
}


def packed(header, data=bytes(32), length=None):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  return struct.pack('<Q', len(text) if length is None else length) + text + data


def read(path, data):
  path.write_bytes(data)
  return read_header(path)


@fuzzing.fuzzed(30)
@given(
  shapes=st.dictionaries(
    st.text(st.characters(exclude_categories=['Cs']), min_size=1).filter(
      lambda name: name != '__metadata__'
    ),
    st.tuples(st.lists(st.integers(0, 4), max_size=4), st.sampled_from('?bBhHiIlLqQefd')),
  )
)
def test_files_of_the_library_are_read_as_it_reads_them(tmp_path, shapes):
  tensors = {name: np.zeros(shape, kind) for name, (shape, kind) in shapes.items()}
  found = read(tmp_path / 'x', safetensors.numpy.save(tensors, metadata={'a': 'b'}))
  assert {name: tensor.shape for name, tensor in found.items()} == {
    name: values.shape for name, values in tensors.items()
  }
  assert all(found[name].end - found[name].begin == x.nbytes for name, x in tensors.items())


def test_the_format_literal(tmp_path):
  assert read(tmp_path / 'x', packed(VALID)) == {
    'a': Tensor('F32', (2, 3), 0, 24),
    'b': Tensor('BF16', (4,), 24, 32),
    'none': Tensor('I8', (0, 7), 32, 32),
  }
  assert read(tmp_path / 'x', packed(json.dumps(VALID).encode() + b'   ')).keys() == {
    'a', 'b', 'none'
  }  # fmt: skip


@fuzzing.fuzzed(200)
@given(header=fuzzing.broken(VALID), length=st.none() | st.integers(0, 2**64 - 1))
def test_any_header_is_read_or_refused_and_what_is_read_the_library_opens(tmp_path, header, length):
  path = tmp_path / 'x.safetensors'
  with fuzzing.one_sentence(ValueError):
    found = read(path, packed(header, length=length))
    with safetensors.safe_open(path, framework='numpy') as file:
      slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
      told = {name: (s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}
      assert told == {name: (tensor.dtype, tensor.shape) for name, tensor in found.items()}


@fuzzing.fuzzed(200)
@given(data=fuzzing.damaged(packed(VALID)))
def test_any_file_is_read_or_refused(tmp_path, data):
  with fuzzing.one_sentence(ValueError):
    read(tmp_path / 'x', data)


def entry(dtype='F32', shape=(2, 3), offsets=(0, 24), **more):
  return {'dtype': dtype, 'shape': list(shape), 'data_offsets': list(offsets), **more}


@pytest.mark.parametrize(
  ('header', 'reason'),
  [
    ([], 'its header is no JSON object'),
    (b'{"a": ', 'its header is not JSON'),
    (b'[' * 5000, 'its header is nested more than 64 levels deep'),
    (rb'{"\ud800": {}}', 'its header has half of a surrogate pair'),
    (b'{"a": {}, "a": {}}', "its header names the key 'a' twice"),
    (
      {'a': entry(offsets=(0, 2**64))},
      "'a' has 18,446,744,073,709,551,616 bytes, not those of F32",
    ),
    ({'a': entry(dtype='F99')}, "'a' has the unknown dtype 'F99'"),
    ({'a': entry(dtype=['F32'])}, "'a' has the unknown dtype"),
    ({'a': entry(shape=(-2, -3))}, "the shape of 'a' is not a list"),
    ({'a': entry(shape=(True, 6))}, "the shape of 'a' is not a list"),
    ({'a': entry(shape=(2.0, 3))}, "the shape of 'a' is not a list"),
    ({'a': entry(shape=[1] * 9)}, "the shape of 'a' is not a list of up to 8 sizes"),
    # 2^32 x 2^32 x 4 bytes is 0 in 64 bits
    ({'a': entry(shape=(2**32, 2**32), offsets=(0, 0))}, "'a' has 0 bytes, not those of F32"),
    ({'a': entry(offsets=(0, 12))}, "'a' has 12 bytes, not those of F32 [2, 3]"),
    ({'a': entry(offsets=(24, 0))}, "'a' has -24 bytes, not those of F32"),
    ({'a': entry(offsets=(0, 24, 24))}, "the data_offsets of 'a' are not two places"),
    ({'a': entry(offsets=(-1, 23))}, "the data_offsets of 'a' are not two places"),
    ({'a': entry(extra=1)}, "the entry of 'a' does not have just dtype, shape, data_offsets"),
    ({'a': [1]}, "the entry of 'a' does not have just"),
    ({'a': entry(), 'b': entry()}, "'b' overlaps another tensor, at byte 0"),
    ({'a': entry(), 'b': entry(shape=(2,), offsets=(20, 28))}, "'b' overlaps another tensor"),
    ({'b': entry(offsets=(8, 32))}, "'b' leaves a gap before it, at byte 8"),
    ({'a': entry(offsets=(0, 24))}, 'its tensors have 24 bytes and it holds 32'),
    ({'a': entry(shape=(20,), offsets=(0, 80))}, 'its tensors have 80 bytes and it holds 32'),
    ({}, 'its tensors have 0 bytes and it holds 32'),
    ({'__metadata__': {'a': 1}}, 'its __metadata__ is not text by name'),
    ({'__metadata__': 'pt'}, 'its __metadata__ is not text by name'),
  ],
)
def test_what_hides_something_is_refused(tmp_path, header, reason):
  with pytest.raises(ValueError) as error:
    read(tmp_path / 'x.safetensors', packed(header))
  assert reason in str(error.value) and str(error.value).endswith(safe_tensors.CURE)


@pytest.mark.parametrize(
  ('length', 'reason'),
  [
    (2**63, r'its header would end after 9,223,372,036,854,775,816 bytes and it has 41'),
    (2**64 - 1, 'its header would end after'),
    (34, 'its header would end after 42 bytes and it has 41'),
    (0, 'its header is not JSON'),
    (2, 'its tensors have 0 bytes and it holds 31'),
  ],
)
def test_lengths_of_the_header(tmp_path, length, reason):
  with pytest.raises(ValueError, match=reason):
    read(tmp_path / 'x', packed(b'{}', bytes(31), length))


def test_a_header_that_is_too_long_is_not_read(tmp_path):
  path = tmp_path / 'x'
  path.write_bytes(packed(b'{}', b'', 2**33))
  os.truncate(path, 2**34)
  with pytest.raises(ValueError, match='its header has 8,589,934,592 bytes, at most 16,777,216'):
    read_header(path)


class Payload:
  """Unpickled it would make a file."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return (pathlib.Path.touch, (self.path,))


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('kind', ['pickle', 'zip'])
def test_a_pickle_under_another_name_is_not_opened(tmp_path, protocol, kind):
  mark, path = tmp_path / 'mark', tmp_path / 'model.safetensors'
  content = pickle.dumps(Payload(mark), protocol)
  if kind == 'zip':
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
      archive.writestr('archive/data.pkl', content)
    content = buffer.getvalue()
  with pytest.raises(
    ValueError, match=r'model\.safetensors is not a readable safetensors file'
  ) as e:
    read(path, content)
  if kind == 'zip' or protocol >= 2:
    assert 'can run code and is never opened' in str(e.value)
  assert not mark.exists()
  pickle.loads(pickle.dumps(Payload(mark), protocol))
  assert mark.exists()  # the payload would have worked
