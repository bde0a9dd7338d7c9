"""Runs Python written by a model, which is hostile input, and says whether its tests pass.

The program and its tests are different processes and only plain data crosses between them: the
program never holds the tests, an expected value or the verdict, so there is nothing to fake. Both
are locked in by namespaces, Landlock, seccomp and limits (jail.py), without root and without
anything to install. A fault of the sandbox itself is told from a wrong program: what a program
sends counts against it, even where it ends the process of the tests.

Known limits: tests that sleep are taken for a fault, even if a value of the program has them sleep;
a function's change of its arguments is not seen by the tests; of an object that is no plain data
they only see whether it is true; no threads, subprocesses or sockets; no installed packages
(NumPy).
"""

from maxent_lm.tasks.sandbox.pool import (
  Sandbox,
  SandboxFault,
  SandboxUnavailable,
  TooManyFaults,
  shared_sandbox,
)
from maxent_lm.tasks.sandbox.programs import Program, Verdict

__all__ = [
  'Program',
  'Sandbox',
  'SandboxFault',
  'SandboxUnavailable',
  'TooManyFaults',
  'Verdict',
  'shared_sandbox',
]
