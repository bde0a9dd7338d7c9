"""What ends a run that is under way is one sentence, whichever part it comes from."""

import pytest

from maxent_lm import cli
from maxent_lm.tasks.sandbox import SandboxUnavailable, TooManyFaults
from maxent_lm.train.checkpoint import NotSavedError
from maxent_lm.train.skips import Poisoned


@pytest.mark.parametrize('kind', [NotSavedError, Poisoned, SandboxUnavailable, TooManyFaults])
def test_what_is_foreseen_is_a_sentence_without_a_traceback(kind):
  with pytest.raises(SystemExit, match='^error: step 12 is not saved$'), cli.run_errors():
    raise kind('step 12\nis not saved')


def test_a_bug_keeps_its_traceback():
  with pytest.raises(ValueError, match='a bug'), cli.run_errors():
    raise ValueError('a bug')
