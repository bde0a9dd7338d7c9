"""The system calls that model-written code may make, as a seccomp filter for x86_64 and aarch64.

What is not listed fails with EPERM: no socket, no new process or thread, no execve, no signal to
anybody, no memfd, no change of limits, no namespace, no io_uring. With no way to fork and none to
hold memory outside the address space, RLIMIT_AS is a bound and nothing outlives its process.
"""

import errno
import fcntl
import os
import platform
import struct
from typing import NamedTuple

ALLOWED = """
  read write close fstat newfstatat lseek mmap mprotect munmap brk mremap madvise
  rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall
  pread64 readv writev dup dup2 dup3 poll ppoll select pselect6 close_range
  sched_yield sched_getaffinity futex nanosleep clock_nanosleep
  clock_gettime clock_getres gettimeofday time times getrusage getrandom
  getpid getppid gettid getuid geteuid getgid getegid uname sysinfo
  exit exit_group
""".split()
# Reading files, for imports; not in the tier without any open. newfstatat is not here: it is what
# fstat of the C library calls.
READING = 'stat lstat statx access faccessat faccessat2 readlink readlinkat'.split()
READING += ['getdents64', 'getcwd']

X86_64 = """
  read 0 write 1 open 2 close 3 stat 4 fstat 5 lstat 6 poll 7 lseek 8 mmap 9 mprotect 10 munmap 11
  brk 12 rt_sigaction 13 rt_sigprocmask 14 rt_sigreturn 15 ioctl 16 pread64 17 readv 19 writev 20
  access 21 select 23 sched_yield 24 mremap 25 madvise 28 dup 32 dup2 33 nanosleep 35 getpid 39
  exit 60 uname 63 fcntl 72 getcwd 79 readlink 89 gettimeofday 96 getrusage 98 sysinfo 99 times 100
  getuid 102 getgid 104 geteuid 107 getegid 108 getppid 110 capset 126 sigaltstack 131
  pivot_root 155 gettid 186 time 201 futex 202 sched_getaffinity 204 getdents64 217
  restart_syscall 219 clock_gettime 228 clock_getres 229 clock_nanosleep 230 exit_group 231
  openat 257 newfstatat 262 readlinkat 267 faccessat 269 pselect6 270 ppoll 271 dup3 292
  getrandom 318 statx 332
"""
AARCH64 = """
  getcwd 17 dup 23 dup3 24 fcntl 25 ioctl 29 pivot_root 41 faccessat 48 openat 56 close 57
  getdents64 61 lseek 62 read 63 write 64 readv 65 writev 66 pread64 67 pselect6 72 ppoll 73
  readlinkat 78 newfstatat 79 fstat 80 capset 91 exit 93 exit_group 94 futex 98 nanosleep 101
  clock_gettime 113 clock_getres 114 clock_nanosleep 115 sched_getaffinity 123 sched_yield 124
  restart_syscall 128 sigaltstack 132 rt_sigaction 134 rt_sigprocmask 135 rt_sigreturn 139
  times 153 uname 160 getrusage 165 gettimeofday 169 getpid 172 getppid 173 getuid 174 geteuid 175
  getgid 176 getegid 177 gettid 178 sysinfo 179 brk 214 munmap 215 mremap 216 mmap 222 mprotect 226
  madvise 233 getrandom 278 statx 291
"""
BOTH = """
  clone3 435 close_range 436 openat2 437 faccessat2 439 mount_setattr 442
  landlock_create_ruleset 444 landlock_add_rule 445 landlock_restrict_self 446
"""


def _numbers(table: str) -> dict[str, int]:
  words = (table + BOTH).split()
  return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


class Machine(NamedTuple):
  """An architecture: how the kernel names it in a filter, and its system calls."""

  audit: int
  numbers: dict[str, int]


MACHINES = {
  'x86_64': Machine(0xC000003E, _numbers(X86_64)),
  'aarch64': Machine(0xC00000B7, _numbers(AARCH64)),
}


def this_machine() -> Machine:
  """The tables of the machine we run on; OSError if there are none."""
  name = platform.machine()
  if name not in MACHINES:
    raise OSError(errno.ENOSYS, f"no table of system calls for the architecture '{name}'")
  return MACHINES[name]


# Classic BPF: (code, jump if true, jump if false, operand).
Instruction = tuple[int, int, int, int]
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
ALLOW: Instruction = (RETURN, 0, 0, 0x7FFF0000)
KILL: Instruction = (RETURN, 0, 0, 0x80000000)
X32 = 0x40000000  # numbers of the x32 interface, which shares the architecture x86_64

# Opening for anything but reading: O_TMPFILE is a bit of its own beside O_DIRECTORY.
WRITING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_APPEND | 0o20000000
# F_SETOWN, F_SETSIG and O_ASYNC would have the kernel send a signal of one's choice to another
# process, so only these commands pass.
FCNTL = (fcntl.F_DUPFD, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_DUPFD_CLOEXEC)


def _fail(number: int) -> Instruction:
  return (RETURN, 0, 0, 0x00050000 | number)


def _argument(index: int) -> Instruction:
  """Loads the low word of an argument; both machines are little-endian."""
  return (LOAD, 0, 0, 16 + 8 * index)


def _when(number: int, body: list[Instruction]) -> list[Instruction]:
  """`body`, which returns on every path, for one system call."""
  return [(EQUAL, 0, len(body), number), *body]


def _read_only(index: int) -> list[Instruction]:
  return [_argument(index), (ANY_BIT, 0, 1, WRITING), _fail(errno.EPERM), ALLOW]


def _one_of(index: int, values: tuple[int, ...]) -> list[Instruction]:
  tests = [(EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
  return [_argument(index), *tests, _fail(errno.EPERM), ALLOW]


def build_filter(machine: Machine, *, may_open: bool) -> list[Instruction]:
  """The filter; `may_open` lets files be opened for reading."""
  numbers = machine.numbers
  program = [
    (LOAD, 0, 0, ARCHITECTURE),
    *[(EQUAL, 1, 0, machine.audit), KILL],
    (LOAD, 0, 0, NUMBER),
    *[(AT_LEAST, 0, 1, X32), KILL],
  ]
  for name in ALLOWED + (READING if may_open else []):
    if name in numbers:  # aarch64 never had some of the older ones
      program += _when(numbers[name], [ALLOW])
  if may_open:
    program += _when(numbers['openat'], _read_only(2))
    if 'open' in numbers:
      program += _when(numbers['open'], _read_only(1))
  program += _when(numbers['fcntl'], _one_of(1, FCNTL))
  # Answers after which libraries take their other path instead of giving up.
  program += _when(numbers['ioctl'], [_fail(errno.ENOTTY)])
  program += _when(numbers['clone3'], [_fail(errno.ENOSYS)])
  program += _when(numbers['openat2'], [_fail(errno.ENOSYS)])
  return [*program, _fail(errno.EPERM)]


def pack(program: list[Instruction]) -> bytes:
  """The filter as an array of struct sock_filter."""
  return b''.join(struct.pack('<HBBI', *instruction) for instruction in program)
