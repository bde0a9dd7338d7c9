"""Parses command lines of the project's scripts without running them.

Standard input is a JSON list of argument lists (`python ...`); printed is a JSON list with an error
for each, '' where all flags exist and have values that they take, and the config resolves.
"""

import argparse
import contextlib
import io
import json
import pathlib
import re
import runpy
import sys

from absl import app, flags

ROOT = pathlib.Path(__file__).parent.parent
OURS = ('maxent_lm', 'configs', 'experiments')


class Parsed(Exception):
  """The script has come to its main function."""


def stop_at_main(main, argv=None, flags_parser=None):
  del main
  rest = (flags_parser or flags.FLAGS)(argv or sys.argv)
  if len(rest) > 1:
    sys.exit(f'error: {rest[1]} is no flag')
  raise Parsed


def stop_after_arguments(parse):
  def stop(*arguments, **options):
    parse(*arguments, **options)
    raise Parsed

  return stop


def forget(known):
  """Takes back the flags of the script before, and modules that define some when imported."""
  flags.FLAGS.unparse_flags()
  for name in set(flags.FLAGS) - known:
    delattr(flags.FLAGS, name)
  for name in [each for each in sys.modules if each.startswith('experiments')]:
    del sys.modules[name]


def run(argv):
  sys.stdin = io.StringIO()
  if argv[1] == '-m':
    sys.argv = argv[2:]
    runpy.run_module(argv[2], run_name='__main__', alter_sys=True)
  else:
    sys.argv = argv[1:]
    sys.path[0] = str((ROOT / argv[1]).parent)
    runpy.run_path(str(ROOT / argv[1]), run_name='__main__')


def named(argv):
  """For scripts whose packages are not installed: the flags that they and their room define."""
  script = argv[2].replace('.', '/') + '.py' if argv[1] == '-m' else argv[1]
  sources = ''.join(path.read_text() for path in (ROOT / script).parent.glob('*.py'))
  known = set(re.findall(r"DEFINE_\w+\(\s*'(\w+)'", sources))
  asked = {re.split('[=.]', each[2:])[0] for each in argv if each.startswith('--')}
  wrong = asked - known
  return f'no such flag: {", ".join(sorted(wrong))}' if wrong else ''


def error_of(argv):
  try:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
      run(argv)
  except Parsed:
    return ''
  except SystemExit as error:
    return '' if not error.code else f'exit {error.code}'
  except ModuleNotFoundError as error:
    return str(error) if (error.name or '').split('.')[0] in OURS else named(argv)
  except Exception as error:  # whatever a script says of wrong flags
    return f'{type(error).__name__}: {error}'
  return ''


def main():
  app.run = stop_at_main
  argparse.ArgumentParser.parse_args = stop_after_arguments(argparse.ArgumentParser.parse_args)
  asked, errors = json.load(sys.stdin), []
  known = set(flags.FLAGS)
  for argv in asked:
    forget(known)
    errors.append(error_of(argv))
  print(json.dumps(errors))


if __name__ == '__main__':
  main()
