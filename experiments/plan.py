"""Would this run fit on a pod of TPUs, and how fast could it be? Compiled on this machine's CPU.

  pip install -e '.[plan]'
  python experiments/plan.py --config=configs/qwen3.py:8b --topology=v5p:4x4x4 \
    --mesh=fsdp:16,tensor:4

Lowers and compiles the rollout and the update that experiments/train.py would run with this config,
for chips that are not there, and allocates no parameters. Printed are memory a device, work,
collectives, the largest buffers, and the least time that the chips' peaks allow. --check exits with
1 if something does not fit or is replicated that should be split.
"""

import sys
from collections.abc import Sequence

from absl import app, flags
from ml_collections import config_flags

from maxent_lm import cli
from maxent_lm.analysis import examine, planning, roofline
from maxent_lm.build.plan import make_plan, simulated_devices

_CONFIG = config_flags.DEFINE_config_file('config', None, 'Experiment.', lock_config=True)
_TOPOLOGY = flags.DEFINE_string('topology', 'v5e:4x4', 'Slice of TPUs: chip and chips along axes.')
_MESH = flags.DEFINE_string('mesh', '', "Sizes as 'fsdp:16,tensor:4'; '' is config.mesh.")
_CHECK = flags.DEFINE_bool('check', False, 'Exit with 1 if the plan does not hold.')


def main(argv: Sequence[str]) -> None:
  """Compiles, prints, judges."""
  del argv
  config = _CONFIG.value
  with cli.user_errors():
    chip, shape = roofline.slice_shape(_TOPOLOGY.value)
    if _MESH.value:
      config.mesh.update(examine.mesh_sizes(_MESH.value))
    plan = make_plan(config, simulated_devices(_TOPOLOGY.value))
  mesh = plan.policy.mesh
  coords = tuple(tuple(device.coords) for device in mesh.devices.flat)
  report = examine.examine(plan, roofline.Slice(chip, shape, coords))
  sizes = ', '.join(f'{name} {size}' for name, size in mesh.shape.items())
  print(f'{config.name} on {_TOPOLOGY.value}, {mesh.size} devices: {sizes}')
  print('\n'.join(planning.lines(report)))
  if _CHECK.value and (failed := [v.what for v in planning.verdicts(report) if not v.holds]):
    sys.exit(f'error: the plan does not hold: {"; ".join(failed)}')


if __name__ == '__main__':
  flags.mark_flag_as_required('config')
  cli.prepare()
  app.run(main, flags_parser=cli.parse)
