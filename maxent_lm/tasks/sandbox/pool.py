"""The sandbox as callers see it: the strongest tier there is, runs in parallel, faults masked.

Worked example:

  with Sandbox() as sandbox:
    right, wrong = sandbox.run_all([
      Program(code='def f(x): return x + 1', tests='assert f(1) == 2'),
      Program(code='def f(x): return x - 1', tests='assert f(1) == 2'),
    ])
  right.reward, wrong.reward        # 1.0, 0.0; None would be a fault of ours
"""

import collections
import concurrent.futures
import functools
import os
import sys
import threading
from collections.abc import Iterable
from typing import Self

from maxent_lm.tasks.sandbox import probe, programs, runs, supervisor
from maxent_lm.tasks.sandbox.jail import TIERS
from maxent_lm.tasks.sandbox.programs import Program, Verdict
from maxent_lm.tasks.sandbox.supervisor import Refused, Zygote, ZygoteGone

ATTEMPTS = 2  # of a run that ends in a fault of ours
STARTS = 3  # of a zygote that dies while starting
WINDOW, MAX_FAULTS, FEW = 1000, 0.05, 20


class SandboxUnavailable(RuntimeError):
  """No tier that is strong enough can be had on this machine; code is not run."""


class TooManyFaults(RuntimeError):
  """So many runs end in faults of ours that the rest is no fair sample."""


class SandboxFault(RuntimeError):
  """A run says nothing about the program: its reward is to be masked, and is not 0."""


class Sandbox:
  """Runs programs of a model. Thread-safe; close it, or use it in a `with`.

  Args:
    minimum_tier: the weakest tier to accept, one of jail.TIERS.
    tier: exactly this one; '' for the strongest.
    parallel: runs at a time; 0 for the number of CPUs.
    python: the interpreter of the programs; '' for ours.

  Raises:
    SandboxUnavailable: none of the accepted tiers works here; the text says why, for each.
  """

  def __init__(
    self, *, minimum_tier: str = 'pure', tier: str = '', parallel: int = 0, python: str = ''
  ) -> None:
    for name in filter(None, (minimum_tier, tier)):
      if name not in TIERS:
        raise ValueError(f"no sandbox tier '{name}': choose one of {', '.join(TIERS)}.")
    if parallel < 0:
      raise ValueError(f'parallel={parallel} runs at a time: give 1 or more, or 0 for one a CPU.')
    self.parallel = parallel or len(os.sched_getaffinity(0))
    self.reasons: dict[str, str] = {}
    self.counts: collections.Counter[str] = collections.Counter()
    self._recent: collections.deque[bool] = collections.deque(maxlen=WINDOW)
    self._python = python or supervisor.default_python()
    self._lock = threading.Lock()
    self._closed = False
    wanted = (tier,) if tier else TIERS[: TIERS.index(minimum_tier) + 1]
    self._zygote = self._strongest(wanted)
    self.tier = self._zygote.tier

  def _strongest(self, wanted: Iterable[str]) -> Zygote:
    if sys.platform != 'linux':
      raise SandboxUnavailable(f'code of a model is run on Linux only, not on {sys.platform}.')
    for tier in wanted:
      try:
        return self._start(tier)
      except (Refused, ZygoteGone, runs.InfraError) as error:
        self.reasons[tier] = str(error)
    told = '; '.join(f'{tier}: {why}' for tier, why in self.reasons.items())
    raise SandboxUnavailable(f'code of a model is not run on this machine. {told}')

  def _start(self, tier: str) -> Zygote:
    """A zygote of that tier that has been seen to hold hostile code."""
    zygote = Zygote(tier, self._python)
    try:
      probe.verify(zygote)
    except BaseException:
      zygote.close()
      raise
    self.reasons[tier] = 'works: hostile code was run in it and held'
    return zygote

  def _replace(self, dead: Zygote) -> None:
    """Starts a new zygote in place of that one, unless another thread has."""
    with self._lock:
      if self._closed:
        raise SandboxUnavailable('the sandbox has been closed.')
      if self._zygote is not dead:
        return
      dead.close()
      self.counts['restarts'] += 1
      for attempt in range(1, STARTS + 1):
        try:
          self._zygote = self._start(self.tier)
          return
        except (Refused, ZygoteGone, runs.InfraError) as error:
          if attempt == STARTS:
            raise SandboxUnavailable(f"the sandbox's zygote does not start: {error}") from error

  def _attempt(self, program: Program) -> Verdict:
    zygote = self._zygote
    try:
      return runs.run(zygote, program)
    except runs.InfraError as error:
      return Verdict('infra_error', str(error))
    except ZygoteGone as error:
      self._replace(zygote)
      return Verdict('infra_error', str(error))

  def run(self, program: Program) -> Verdict:
    """Runs one program, once more if the first time is a fault of ours.

    Raises:
      ValueError: it cannot be run as described.
      TooManyFaults: more than 5% of the last runs ended in faults of ours.
      SandboxUnavailable: the zygote died and no new one starts.
    """
    programs.check(program)
    for _ in range(ATTEMPTS):
      verdict = self._attempt(program)
      if verdict.status != 'infra_error':
        break
    with self._lock:
      self.counts[verdict.status] += 1
      self._recent.append(verdict.status == 'infra_error')
      faults = sum(self._recent)
    if faults >= FEW and faults > MAX_FAULTS * len(self._recent):
      raise TooManyFaults(
        f'{faults} of the last {len(self._recent)} runs are faults of the sandbox, the last one: '
        f'{verdict.detail}'
      )
    return verdict

  def run_all(self, programs: Iterable[Program]) -> list[Verdict]:
    """Runs programs, `parallel` at a time; the verdicts are in their order."""
    with concurrent.futures.ThreadPoolExecutor(self.parallel) as threads:
      return list(threads.map(self.run, programs))

  @property
  def zygote_pid(self) -> int:
    """The process that everything is forked from."""
    return self._zygote.pid

  def close(self) -> None:
    """Ends every process of the sandbox."""
    with self._lock:
      self._closed = True
      self._zygote.close()

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()


@functools.cache
def shared_sandbox(minimum_tier: str) -> Sandbox:
  """The one sandbox of this process for that tier, started when first asked for."""
  return Sandbox(minimum_tier=minimum_tier)
