"""Notebooks are their sources, carry no outputs, and run: what they say is asserted in them."""

import os
import pathlib
import warnings

import pytest
import quick

REASON = "install the extra with pip install -e '.[notebooks]'"
jupytext, nbclient, nbformat, *_ = (
  pytest.importorskip(name, reason=f'{name} is missing: {REASON}')
  for name in ('jupytext', 'nbclient', 'nbformat', 'ipykernel', 'pandas')
)

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = sorted((ROOT / 'notebooks').glob('*.py'))
by_name = pytest.mark.parametrize('source', SOURCES, ids=lambda path: path.stem)


def test_there_are_seven():
  assert [path.stem[:2] for path in SOURCES] == [f'{number:02}' for number in range(1, 8)]
  pairs = {path.stem for path in (ROOT / 'notebooks').glob('*.ipynb')}
  assert pairs == {path.stem for path in SOURCES}


@by_name
def test_the_pair_is_in_sync(source):
  written = nbformat.read(source.with_suffix('.ipynb'), as_version=4)
  nbformat.validate(written)
  cells, expected = (
    [(c.cell_type, c.source) for c in each.cells] for each in (written, jupytext.read(source))
  )
  assert cells == expected, f'{source.stem} differs from its source: make notebooks'
  code = [cell for cell in written.cells if cell.cell_type == 'code']
  assert all(not cell.outputs and cell.execution_count is None for cell in code)


@by_name
def test_a_reader_is_told_what_comes_and_what_to_try(source):
  prose = [cell.source for cell in jupytext.read(source).cells if cell.cell_type == 'markdown']
  assert prose[0].startswith(f'# {source.stem[:2]} ')
  assert 'ou will see\n' in prose[0]
  assert '## Try\n' in prose[-1]


@pytest.mark.slow
@by_name
def test_it_runs(source, tmp_path):
  """In a kernel of its own, on one device; quick compilation, as for all tests (conftest.py)."""
  environment = {name: value for name, value in os.environ.items() if name != 'MAXENT_LM_RUN'}
  environment |= {
    'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.cache' / 'jax'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'MAXENT_LM_SMALL': '1',
    'PYTHONPATH': str(ROOT),
    'TMPDIR': str(tmp_path),
    'XLA_FLAGS': quick.COMPILATION,
  }
  client = nbclient.NotebookClient(
    nbformat.read(source.with_suffix('.ipynb'), as_version=4),
    timeout=1800,
    kernel_name='python3',
    resources={'metadata': {'path': str(source.parent)}},
  )
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # of jupyter's own packages
    client.execute(env=environment)
