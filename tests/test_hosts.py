"""What several processes do together, and alone."""

import math
import signal

import launch
import pytest

from maxent_lm import hosts
from maxent_lm.lm import partition

CHILD = """
import sys
import jax
import numpy as np
from maxent_lm import hosts
from maxent_lm.lm import partition

address, count, own = (argument.split('=')[1] for argument in sys.argv[1:])
hosts.connect(address, int(count), int(own))

def squares(part):
  print('did', len(part))
  return [[x * x, None if x % 2 else 'even', float('nan')] for x in part]

def fail(part):
  if own == '1':
    raise ValueError('no such answer')
  return [0] * len(part)

with hosts.end_together():
  print(hosts.share(range(5), squares), hosts.share('x' * 3000, list) == ['x'] * 3000)
  print(hosts.share([], squares), hosts.share([7], squares)[0][0])
  print(hosts.first_says(own == '0'), hosts.first_says(own == '1'), hosts.is_first())
  rows = partition.batch_sharding(partition.make_mesh(data=2))
  split = jax.make_array_from_callback((4,), rows, lambda at: np.arange(4)[at])
  whole = hosts.fetch_to_first({'a': split})
  print(whole and whole['a'].tolist())
  sys.stdout.flush()
  hosts.share(range(5), fail)
  print('not reached')
"""


def test_work_is_shared_and_an_error_in_one_process_ends_both():
  (status, printed, _), (other, beside, told) = launch.finish(
    launch.start(['-c', CHILD], processes=2, devices=1)
  )
  squares = [[0, 'even', math.nan], [1, None, math.nan], [4, 'even', math.nan]]
  squares += [[9, None, math.nan], [16, 'even', math.nan]]
  for who, said, parts in (('True', printed, (2, 0, 0)), ('False', beside, (3, 0, 1))):
    assert said.splitlines() == [
      *(f'did {parts[0]}', f'{squares} True', f'did {parts[1]}', f'did {parts[2]}'),
      *('[] 49', f'True False {who}', '[0, 1, 2, 3]' if who == 'True' else 'None'),
    ]
  assert status != 0 and other == 1
  assert 'process 1: Traceback' in told and told.rstrip().endswith('ValueError: no such answer')


def test_one_process_is_left_as_it_was():
  before = signal.getsignal(signal.SIGINT)
  hosts.connect('', None, None)
  assert signal.getsignal(signal.SIGINT) is before
  assert hosts.is_first()
  assert hosts.share((1, 2), lambda part: [part]) == [(1, 2)]
  assert hosts.first_says(True) and not hosts.first_says(False)
  hosts.check_alone('this')
  with pytest.raises(KeyError, match='own'), hosts.end_together():
    raise KeyError('own')


@pytest.mark.parametrize(
  'arguments',
  [('host:1', None, None), ('host:1', 2, None), ('', 2, 0), ('host', 2, 0), ('host:1', 2, 2)],
)
def test_half_an_introduction_is_refused(arguments):
  with pytest.raises(ValueError, match='--process_id'):
    hosts.connect(*arguments)


def test_a_launcher_tells_what_is_not_given(monkeypatch):
  asked = []
  monkeypatch.setattr(hosts, 'is_launched', lambda environment: True)
  monkeypatch.setattr(hosts.jax.distributed, 'initialize', lambda *given: asked.append(given))
  hosts.connect('', None, None)
  hosts.connect('host:1', 4, None)
  assert asked == [(None, None, None), ('host:1', 4, None)]


SLURM = {'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '2', 'SLURM_STEP_NODELIST': 'n[1-2]'}
MPI = {'OMPI_MCA_orte_hnp_uri': '1.0;tcp://10.0.0.1:3', 'OMPI_COMM_WORLD_SIZE': '2'}


@pytest.mark.parametrize(
  ('environment', 'launched'),
  [
    ({}, False),
    ({**SLURM, 'SLURM_STEP_NUM_TASKS': '2'}, True),
    ({**SLURM, 'SLURM_STEP_NUM_TASKS': '1'}, False),  # a shell in an allocation of two
    ({'SLURM_JOB_ID': '7', 'SLURM_NTASKS': '2', 'SLURM_PROCID': '0'}, False),  # a batch script
    (MPI, True),
    ({**MPI, 'OMPI_COMM_WORLD_SIZE': '1'}, False),
    ({'TPU_WORKER_HOSTNAMES': 'a,b', 'JAX_PLATFORMS': ''}, True),
    ({'TPU_WORKER_HOSTNAMES': 'a,b'}, False),  # a host of a pod that computes on its CPU
    ({'TPU_WORKER_HOSTNAMES': 'localhost', 'JAX_PLATFORMS': 'tpu'}, False),
    ({'MEGASCALE_NUM_SLICES': '2', 'JAX_PLATFORMS': 'tpu,cpu'}, True),
  ],
)
def test_launchers_are_recognised(environment, launched):
  assert hosts.is_launched({'JAX_PLATFORMS': 'cpu', **environment}) is launched


def test_the_chips_of_a_host_are_a_reason_to_ask(monkeypatch):
  monkeypatch.setattr(hosts.glob, 'glob', lambda pattern: ['/dev/accel0'])
  monkeypatch.setattr(hosts.importlib.util, 'find_spec', lambda name: object())
  assert hosts.is_launched({})
  assert hosts.is_launched({'JAX_PLATFORMS': 'tpu,cpu'})
  assert not hosts.is_launched({'JAX_PLATFORMS': 'cpu'})


def test_every_process_has_a_part_of_the_mesh():
  class Device:
    def __init__(self, process):
      self.process_index = process

  with pytest.raises(ValueError, match='must use all 4 devices of the processes'):
    partition.make_mesh(data=2, devices=[Device(i // 2) for i in range(4)])
