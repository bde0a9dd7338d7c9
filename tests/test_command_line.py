"""What is typed: any --config.key=value gives a config or one line on stderr."""

import pathlib
import sys
from unittest import mock

import fuzzing
import ml_collections
import pytest
from absl import flags
from hypothesis import example, given
from hypothesis import strategies as st
from ml_collections import config_flags

from maxent_lm import cli

ROOT = pathlib.Path(__file__).parent.parent
KEYS = (
  *('steps', 'seed', 'name', 'algorithm', 'temperature.alpha', 'soft_q.lam', 'transforms', 'mesh'),
  *('batch.max_prompt_tokens', 'temperature', 'alhpa', '', '.', 'eval.temperature', 'model.tied'),
  *('guards.collapse.low', 'importance.sites.loss', 'optimizer.learning_rate', 'steps.x', 'chat'),
)
VALUES = (
  *('1', '-1', '0.5', 'nan', 'inf', '1e999', '9' * 5000, 'true', 'False', 'None', '', ' ', '()'),
  *(
    '(1, 2)',
    "('a',)",
    '(' * 500,
    '[1]',
    '{}',
    'x' * 3000,
    '\x00',
    '\udcff',
    '%s',
    '{0}',
    '=',
    '--',
  ),
  *('__import__("os").system("false")', '(1).__class__', "f'{1}'", '1 if 1 else 2', '10**10**10'),
)


def parsed(*arguments):
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', None, lock_config=True, flag_values=values)
  flags.DEFINE_string('workdir', None, '', flag_values=values)
  argv = ['x', f'--config={ROOT}/configs/countdown.py', *arguments]
  # config_flags looks for overrides in sys.argv
  with mock.patch.object(flags, 'FLAGS', values), mock.patch.object(sys, 'argv', argv):
    cli.parse(argv)
  return values.config


def test_values_arrive():
  config = parsed('--config.steps=7', '--config.temperature.alpha=0.25')
  assert (config.steps, config.temperature.alpha) == (7, 0.25)


def test_a_folder_is_no_address():
  assert cli.as_folder('runs/a:b') == pathlib.Path('runs/a:b')
  with pytest.raises(ValueError, match='--workdir=gs://bucket/run is an address; name a folder'):
    cli.as_folder('gs://bucket/run')


@fuzzing.fuzzed(60)
@example(key='transforms', value='[1]', sign='')  # a place beyond the end
@example(key='steps', value='[1]', sign='')  # and one of a number
@given(
  key=st.sampled_from(KEYS) | st.text(max_size=12),
  value=st.sampled_from(VALUES) | st.text(max_size=12),
  sign=st.sampled_from(['=', '', '==']),
)
def test_any_override_is_a_config_or_one_line(key, value, sign):
  try:
    config = parsed(f'--config.{key}{sign}{value}')
  except SystemExit as stop:
    assert str(stop.code).startswith('error: ') and '\n' not in str(stop.code)
  else:
    assert isinstance(config, ml_collections.ConfigDict)


@pytest.mark.parametrize('value', ['open({path!r}, "w")', '__import__("os").mknod({path!r})'])
def test_a_value_is_no_code(tmp_path, value):
  value = value.format(path=str(tmp_path / 'mark'))
  config = parsed(f'--config.name={value}', f'--config.transforms={value}')
  assert config.name == value and all(isinstance(each, str) for each in config.transforms)
  assert not (tmp_path / 'mark').exists()
