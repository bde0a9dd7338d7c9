"""XLA's flags of every process that tests start, and of their own.

Hundreds of small programs are compiled and run a few times each: what LLVM's optimisation and XLA's
newer code generator for fusions (which jax 0.11 has for good) take is longer than what they save.
"""

from importlib import metadata

_OLDER = tuple(int(part) for part in metadata.version('jaxlib').split('.')[:2]) < (0, 11)
COMPILATION = ' '.join(
  ['--xla_backend_optimization_level=0', *['--xla_cpu_use_fusion_emitters=false'] * _OLDER]
)


def devices(count: int) -> str:
  """For so many simulated devices, which may have to wait for each other on a busy core."""
  return (
    f'{COMPILATION} --xla_force_host_platform_device_count={count} '
    '--xla_cpu_collective_call_terminate_timeout_seconds=300'
  )
