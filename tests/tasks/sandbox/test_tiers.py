"""Which tier is had on a system that refuses something: the next one, or none at all.

The systems are made by a filter that lets the calls in question fail, as a container's does.
"""

import json

import arena
import pytest

# Calls by number on x86_64 and aarch64, and what they fail with.
UNSHARE, MOUNT = (272, 97, 'EPERM'), (165, 40, 'EPERM')
LANDLOCK, PIDFD_OPEN = (444, 444, 'ENOSYS'), (434, 434, 'ENOSYS')
FILTER = (157, 167, 'EINVAL')  # prctl(PR_SET_SECCOMP): only that one

DENY = """
import errno
from maxent_lm.tasks.sandbox import kernel, syscalls
program = [(syscalls.LOAD, 0, 0, syscalls.NUMBER)]
for x86_64, aarch64, name in {calls}:
  number = x86_64 if syscalls.platform.machine() == 'x86_64' else aarch64
  body = [syscalls._fail(getattr(errno, name))]
  if name == 'EINVAL':
    option = kernel.PR_SET_SECCOMP
    body = [syscalls._argument(0), (syscalls.EQUAL, 0, 1, option), *body, syscalls.ALLOW]
  program += syscalls._when(number, body)
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
kernel.install_filter(syscalls.pack([*program, syscalls.ALLOW]))
"""
GOOD = json.dumps({'code': 'def f(x): return x + 1', 'tests': 'assert f(1) == 2'})


@pytest.fixture(scope='module')
def user():
  user = arena.users()[-1]
  if arena.interpreter(user) is None:
    pytest.skip('no interpreter that this user can read')
  return user


def ask(user, calls, *arguments):
  return arena.command_line(user, list(arguments), GOOD, before=DENY.format(calls=calls))


@pytest.mark.parametrize(
  'calls, tier, why',
  [
    ((UNSHARE,), 'landlock', 'unshare: Operation not permitted'),
    ((MOUNT,), 'landlock', 'mount on /: Operation not permitted'),
    ((UNSHARE, LANDLOCK), 'pure', 'Function not implemented'),
  ],
)
def test_the_next_tier_is_taken_and_told(user, calls, tier, why):
  probe = json.loads(ask(user, calls, '--probe').stdout)
  assert probe['tier'] == tier and why in str(probe['why'])
  ran = ask(user, calls)
  assert ran.returncode == 0 and json.loads(ran.stdout)['passed']
  refused = ask(user, calls, '--minimum_tier', 'ns')
  assert refused.returncode == 2 and not refused.stdout and 'not run' in refused.stderr


@pytest.mark.parametrize('calls', [(FILTER,), (PIDFD_OPEN,)])
def test_without_a_filter_nothing_is_run(user, calls):
  for arguments in ((), ('--batch',), ('--tier', 'pure')):
    ran = ask(user, calls, *arguments)
    assert ran.returncode == 2 and not ran.stdout
    assert ran.stderr.startswith('error: code of a model is not run on this machine')
  probe = ask(user, calls, '--probe')
  assert probe.returncode == 2 and json.loads(probe.stdout)['tier'] is None


# As in a container of an ordinary user whose host allows no more namespaces in it.
CONFINED = """
import os
from maxent_lm.tasks.sandbox import kernel
user, group = os.geteuid(), os.getegid()
kernel.unshare(kernel.CLONE_NEWUSER)
for name, text in (
  ('self/setgroups', 'deny'),
  ('self/uid_map', f'{user} {user} 1'),
  ('self/gid_map', f'{group} {group} 1'),
  ('sys/user/max_user_namespaces', '0'),
):
  with open(f'/proc/{name}', 'w') as file:
    file.write(text)
kernel.drop_capabilities()
"""


def test_in_a_namespace_that_allows_no_others(user):
  def ask(*arguments):
    return arena.command_line(user, list(arguments), GOOD, before=CONFINED)

  ran = ask('--probe')
  if 'in kernel.unshare' in ran.stderr or '/proc/sys/user' in ran.stderr:
    pytest.skip(f'this system does not allow it either: {ran.stderr.splitlines()[-1]}')
  probe = json.loads(ran.stdout)
  assert probe['tier'] == 'landlock' and 'No space left on device' in probe['why']['ns']
  ran = ask()
  assert ran.returncode == 0 and json.loads(ran.stdout)['passed']
  refused = ask('--minimum_tier', 'ns')
  assert refused.returncode == 2 and not refused.stdout and 'not run' in refused.stderr
