r"""Strikes a tiny run again and again, and checks that it ends as if nothing had happened.

  python experiments/chaos.py --workdir=runs/chaos --kills=50
  python experiments/chaos.py --workdir=runs/chaos --minutes=30
  python experiments/chaos.py --workdir=runs/chaos --steps=8000

`--kills`: kill -9 at so many moments, drawn over all that a run does, with a restart after each.
State, metrics, samples and exported weights must be those of the run that nobody disturbed, bit by
bit. `--minutes`: SIGTERM, pauses, damaged checkpoints, a full disk, a second run in the same folder
and kills, for so long; each run must end as the undisturbed one or stop with a reason. `--steps`:
how memory, file descriptors, threads and zombies of one undisturbed run grow. A call that was
interrupted goes on when it is given again (another version of the code wants another folder); the
exit status is 1 if what must hold does not.

The run is experiments/train.py on Countdown with two numbers, from a warm start: rollouts one step
ahead, replay, counts of answers, a target network, learned alpha and beta.
"""

import pathlib
import sys
import time
from collections.abc import Sequence

from absl import app, flags

from maxent_lm import cli
from maxent_lm.analysis import tables
from maxent_lm.analysis.chaos import campaigns
from maxent_lm.train import folder

_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of everything.', required=True)
_KILLS = flags.DEFINE_integer('kills', 0, 'Kills.', 0)
_MINUTES = flags.DEFINE_float('minutes', 0.0, 'Minutes of all kinds of faults.', 0.0)
_STEPS = flags.DEFINE_integer('steps', 0, 'Steps whose growth is measured.', 0)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the faults.', 0)


def main(argv: Sequence[str]) -> None:
  """Runs what is asked for, one after the other, and writes a table of each."""
  del argv
  asked = {'kills': _KILLS.value, 'minutes': _MINUTES.value, 'steps': _STEPS.value}
  asked = {name: value for name, value in asked.items() if value}
  with cli.user_errors():
    if not asked:
      raise ValueError('give one of --kills=50, --minutes=30 and --steps=8000')
  workdir, commit = pathlib.Path(_WORKDIR.value).resolve(), folder.commit()[:12]
  failed = []
  for name, value in asked.items():
    began = time.perf_counter()
    table = campaigns.CAMPAIGNS[name](workdir, value, seed=_SEED.value)
    command = f'chaos.py --workdir={_WORKDIR.value} --{name}={value:g} --seed={_SEED.value}'
    made = tables.made(command, commit, time.perf_counter() - began)
    print(tables.write(workdir, f'chaos_{name}', table, made=made))
    failed += [gate.what for gate in table.gates if not gate.holds]
  if failed:
    sys.exit(f'error: {"; ".join(failed)}')


if __name__ == '__main__':
  cli.prepare()
  app.run(main)
