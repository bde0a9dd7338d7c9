"""The filter, run by a small machine of our own for both architectures."""

import errno
import os
import pathlib
import re

import pytest

from maxent_lm.tasks.sandbox import syscalls

ALLOW, KILL = 'allow', 'kill'
HEADERS = {
  'x86_64': '/usr/include/x86_64-linux-gnu/asm/unistd_64.h',
  'aarch64': '/usr/include/asm-generic/unistd.h',
}
FORBIDDEN = {
  'x86_64': 'socket 41 connect 42 sendto 44 sendmsg 46 clone 56 fork 57 vfork 58 execve 59 kill 62 '
  'ftruncate 77 chmod 90 ptrace 101 chroot 161 mount 165 tkill 200 io_setup 206 tgkill 234 mq_open '
  '240 keyctl 250 unshare 272 vmsplice 278 prlimit64 302 process_vm_readv 310 memfd_create 319 '
  'execveat 322 setrlimit 160 setitimer 38 prctl 157 pidfd_open 434 pidfd_send_signal 424 '
  'io_uring 425 pidfd_getfd 438 userfaultfd 323 bpf 321 shmget 29 setns 308 creat 85 '
  'unlink 87 pipe2 293',
  'aarch64': 'socket 198 connect 203 sendto 206 sendmsg 211 clone 220 execve 221 kill 129 '
  'ftruncate 46 fchmodat 53 ptrace 117 chroot 51 mount 40 tkill 130 io_setup 0 tgkill 131 mq_open '
  '180 keyctl 219 unshare 97 vmsplice 75 prlimit64 261 process_vm_readv 270 memfd_create 279 '
  'execveat 281 setrlimit 164 setitimer 103 prctl 167 pidfd_open 434 pidfd_send_signal 424 '
  'io_uring 425 pidfd_getfd 438 userfaultfd 282 bpf 280 shmget 194 setns 268 unlinkat 35 pipe2 59',
}


def verdict(program, number, arguments=(), audit=None):
  """What the kernel would answer: 'allow', 'kill' or an errno."""
  words = {0: number, 4: audit}
  for index, argument in enumerate(arguments):
    words[16 + 8 * index], words[20 + 8 * index] = argument & 0xFFFFFFFF, argument >> 32
  place, held = 0, 0
  while True:
    code, true, false, operand = program[place]
    place += 1
    if code == syscalls.LOAD:
      held = words.get(operand, 0)
    elif code == syscalls.RETURN:
      kind, value = operand & 0xFFFF0000, operand & 0xFFFF
      return {0x7FFF0000: ALLOW, 0x80000000: KILL}.get(kind, value)
    else:
      holds = {
        syscalls.EQUAL: held == operand,
        syscalls.AT_LEAST: held >= operand,
        syscalls.ANY_BIT: bool(held & operand),
      }[code]
      place += true if holds else false


@pytest.fixture(params=syscalls.MACHINES)
def name(request):
  return request.param


@pytest.fixture
def machine(name):
  return syscalls.MACHINES[name]


@pytest.mark.parametrize('may_open', [True, False])
def test_what_passes_is_listed(machine, may_open):
  program = syscalls.build_filter(machine, may_open=may_open)
  known = {number: name for name, number in machine.numbers.items()}
  passed = {known.get(n) for n in range(600) if verdict(program, n, (), machine.audit) == ALLOW}
  expected = {n for n in syscalls.ALLOWED if n in machine.numbers} | {'fcntl'}
  if may_open:
    expected |= {n for n in [*syscalls.READING, 'open', 'openat'] if n in machine.numbers}
  assert passed == expected
  assert len(program) < 4096 and all(max(i[1], i[2]) < 256 for i in program)


def test_what_must_not_pass(name, machine):
  words = FORBIDDEN[name].split()
  program = syscalls.build_filter(machine, may_open=True)
  for what, number in zip(words[::2], words[1::2], strict=True):
    assert verdict(program, int(number), (0,) * 6, machine.audit) == errno.EPERM, what


def test_files_open_for_reading_only(machine):
  numbers, audit = machine.numbers, machine.audit
  program = syscalls.build_filter(machine, may_open=True)
  closed = syscalls.build_filter(machine, may_open=False)
  reading = (os.O_RDONLY, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
  writing = (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_APPEND, os.O_TMPFILE, 3)
  for flags in (*reading, *writing):
    expected = ALLOW if flags in reading else errno.EPERM
    assert verdict(program, numbers['openat'], (0, 0, flags), audit) == expected
    assert verdict(closed, numbers['openat'], (0, 0, flags), audit) == errno.EPERM
    if 'open' in numbers:
      assert verdict(program, numbers['open'], (0, flags, 0), audit) == expected
  assert verdict(program, numbers['openat2'], (), audit) == errno.ENOSYS


def test_descriptors_send_no_signals(machine):
  program = syscalls.build_filter(machine, may_open=True)
  for command in range(2000):
    got = verdict(program, machine.numbers['fcntl'], (3, command, 0), machine.audit)
    assert got == (ALLOW if command in (0, 1, 2, 3, 1030) else errno.EPERM)


def test_other_interfaces_are_deadly(machine):
  program = syscalls.build_filter(machine, may_open=True)
  assert verdict(program, 0, (), 0x40000003) == KILL  # 32-bit x86
  assert verdict(program, syscalls.X32 + 1, (), machine.audit) == KILL


def test_numbers_are_those_of_the_kernel(name, machine):
  if not os.path.exists(HEADERS[name]):
    pytest.skip('no kernel headers')
  text = pathlib.Path(HEADERS[name]).read_text()
  found = re.findall(r'#define (__NR\w*?)_(\w+)\s+(\d+)', re.sub(r'__NR3264_', '__NR_', text))
  header = {what: int(number) for prefix, what, number in found}
  # In the generic header two names are those of 32-bit machines, with the same numbers.
  header |= {'newfstatat': header.get('newfstatat', header.get('fstatat', -1))}
  mine = {what: number for what, number in machine.numbers.items() if what in header}
  assert mine == {what: header[what] for what in mine}
  missing = set(machine.numbers) - set(mine)
  assert missing <= {'landlock_create_ruleset', 'landlock_add_rule', 'landlock_restrict_self'}


def test_another_machine_is_refused(monkeypatch):
  monkeypatch.setattr(syscalls.platform, 'machine', lambda: 'riscv64')
  with pytest.raises(OSError, match='riscv64'):
    syscalls.this_machine()
