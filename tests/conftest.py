"""Runs before jax is imported: eight simulated CPU devices, quick compilation, a warm cache.

MAXENT_LM_TEST_PLATFORM=cuda,cpu is for tests/lm/test_gpu.py.
"""

import os
import pathlib

import quick

PLATFORM = os.environ.get('MAXENT_LM_TEST_PLATFORM', 'cpu')
os.environ['JAX_PLATFORMS'] = PLATFORM
if PLATFORM == 'cpu':
  os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {quick.devices(8)}'
os.environ.setdefault('TRANSFORMERS_VERBOSITY', 'error')
os.environ.setdefault('HF_HUB_OFFLINE', '1')

import jax  # noqa: E402

CACHE = pathlib.Path(__file__).parent.parent / '.cache' / 'jax'
jax.config.update('jax_compilation_cache_dir', str(CACHE))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
jax.config.update('jax_numpy_rank_promotion', 'raise')
