"""Looks at a run folder: what is there, what is wrong, what can be resumed and how.

python experiments/doctor.py --workdir=runs/soft_q [--verify=sizes]

Changes nothing. Exit status 0: all is fine; 1: something is wrong, and the run can be resumed;
2: it cannot.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags

from maxent_lm import cli
from maxent_lm.analysis import doctor
from maxent_lm.train import manifest

WORKDIR = flags.DEFINE_string('workdir', None, 'Run folder.', required=True)
VERIFY = flags.DEFINE_enum(
  'verify', 'full', list(manifest.LEVELS), 'Hash every file of the checkpoints, or see sizes only.'
)


def main(_: Sequence[str]) -> None:
  """Prints what is found."""
  workdir = pathlib.Path(WORKDIR.value)
  try:
    findings = doctor.examine(workdir, VERIFY.value)
  except FileNotFoundError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(doctor.LOST)
  print(doctor.text(workdir, findings))
  sys.exit(findings.status)


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
