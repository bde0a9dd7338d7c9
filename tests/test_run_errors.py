"""What ends a run that is under way is one sentence, whichever part it comes from."""

import errno
import os

import pytest

from maxent_lm import cli
from maxent_lm.tasks.sandbox import SandboxUnavailable, TooManyFaults
from maxent_lm.train.checkpoint import NotSavedError
from maxent_lm.train.skips import Poisoned


@pytest.mark.parametrize('kind', [NotSavedError, Poisoned, SandboxUnavailable, TooManyFaults])
def test_what_is_foreseen_is_a_sentence_without_a_traceback(kind):
  with pytest.raises(SystemExit, match='^error: step 12 is not saved$'), cli.run_errors():
    raise kind('step 12\nis not saved')


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_what_to_do(code):
  with pytest.raises(SystemExit, match='^error: .*: make room where --workdir is'):
    with cli.user_errors():
      raise OSError(code, os.strerror(code))


def test_a_bug_keeps_its_traceback():
  with pytest.raises(ValueError, match='a bug'), cli.run_errors():
    raise ValueError('a bug')
