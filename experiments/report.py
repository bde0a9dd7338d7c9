"""A run, or two side by side, as one HTML file to look at, offline.

python experiments/report.py --workdir=runs/soft_q [--compare=runs/grpo] [--output=FILE]

Curves, the accuracy-coverage plane, the evaluation, the config, and the responses with every token
shaded by entropy, value or advantage. Written is `workdir/report.html`, of at most 5 MB; a run that
is not finished has a report, too.
"""

import pathlib
from collections.abc import Sequence

from absl import app, flags

from maxent_lm import cli
from maxent_lm.analysis import report, runs

WORKDIR = flags.DEFINE_string('workdir', None, 'Run folder.', required=True)
COMPARE = flags.DEFINE_string('compare', '', 'Another run folder, to stand beside it.')
OUTPUT = flags.DEFINE_string('output', '', 'File to write; default: report.html in the workdir.')


def main(_: Sequence[str]) -> None:
  """Reads the folders and writes the page."""
  from configs import base

  workdir = pathlib.Path(WORKDIR.value)
  output = pathlib.Path(OUTPUT.value) if OUTPUT.value else workdir / 'report.html'
  folders = [workdir, *([pathlib.Path(COMPARE.value)] if COMPARE.value else [])]
  with cli.user_errors():
    found = [runs.read(each) for each in folders]
    size = report.write(output, found, defaults=runs.flat(base.get_config().to_dict()))
  print(f'written: {output} ({size / 1e6:.2f} MB)')


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
