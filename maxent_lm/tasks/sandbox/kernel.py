"""Linux calls that Python has no function for, through ctypes; failures raise OSError."""

import ctypes
import os
import struct

from maxent_lm.tasks.sandbox import syscalls

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWUSER = 0x08000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

LANDLOCK_READ_FILE, LANDLOCK_READ_DIR = 1 << 2, 1 << 3

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
  if result < 0:
    number = ctypes.get_errno()
    raise OSError(number, f'{what}: {os.strerror(number)}')
  return result


def _long(value: int | bytes | None) -> ctypes.c_void_p | ctypes.c_char_p:
  """ctypes would pass a plain int in 32 bits and cut addresses."""
  return ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_void_p(value or 0)


def _call(name: str, *arguments: int | bytes | None) -> int:
  number = syscalls.this_machine().numbers[name]
  return _checked(_libc.syscall(ctypes.c_long(number), *map(_long, arguments)), name)


def prctl(option: int, value: int | bytes = 0, third: int | bytes = 0) -> None:
  """prctl(option, value, third, 0, 0)."""
  _checked(_libc.prctl(option, _long(value), _long(third), _long(0), _long(0)), f'prctl {option}')


def unshare(flags: int) -> None:
  """New namespaces for this process (and, for pids, for its children)."""
  _checked(_libc.unshare(flags), 'unshare')


def mount(source: str, target: str, kind: str, flags: int, data: str = '') -> None:
  """mount(2)."""
  words = [word.encode() or None for word in (source, target, kind)]
  result = _libc.mount(*map(_long, words), ctypes.c_ulong(flags), _long(data.encode()))
  _checked(result, f'mount on {target}')


def make_read_only(path: str) -> None:
  """Makes a bind mount and all mounts beneath it read-only, without set-user-id and devices."""
  attributes = struct.pack('<QQQQ', MS_RDONLY | MS_NOSUID | MS_NODEV, 0, 0, 0)
  at_cwd, recursive = (1 << 64) - 100, 0x8000
  _call('mount_setattr', at_cwd, path.encode(), recursive, attributes, len(attributes))


def pivot_root(new: str, old: str) -> None:
  """Makes `new` the root; the former one appears at `old`."""
  _call('pivot_root', new.encode(), old.encode())


def unmount(path: str) -> None:
  """Lazily unmounts."""
  _checked(_libc.umount2(_long(path.encode()), MNT_DETACH), f'umount {path}')


def drop_capabilities() -> None:
  """Gives up every capability, for this process and what it will start."""
  for capability in range(64):
    try:
      prctl(PR_CAPBSET_DROP, capability)
    except OSError:  # beyond the last one, or not ours to drop: the next line is what counts
      break
  _call('capset', struct.pack('<II', 0x20080522, 0), bytes(24))


def landlock_version() -> int:
  """Version of the Landlock interface; OSError where the kernel has none."""
  return _call('landlock_create_ruleset', 0, 0, 1)


def restrict_files(readable: list[str], listable: list[str]) -> None:
  """From here on only `readable` can be read and `listable` listed, nothing written [Landlock]."""
  version = landlock_version()
  files = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
  network = 3 if version >= 4 else 0  # bind and connect
  scopes = 3 if version >= 6 else 0  # abstract unix sockets and signals
  size = 24 if version >= 6 else 16 if version >= 4 else 8
  rules = _call('landlock_create_ruleset', struct.pack('<QQQ', files, network, scopes), size, 0)
  try:
    for paths, rights in ((readable, LANDLOCK_READ_FILE), (listable, LANDLOCK_READ_DIR)):
      for path in paths:
        _allow(rules, path, rights | (LANDLOCK_READ_DIR if os.path.isdir(path) else 0))
    _call('landlock_restrict_self', rules, 0)
  finally:
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
  fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
  try:
    _call('landlock_add_rule', rules, 1, struct.pack('<Qi', rights, fd), 0)
  finally:
    os.close(fd)


def install_filter(program: bytes) -> None:
  """Installs a seccomp filter for good: an array of struct sock_filter, 8 bytes each."""
  held = ctypes.create_string_buffer(program, len(program))
  header = struct.pack('<HxxxxxxQ', len(program) // 8, ctypes.addressof(held))
  prctl(PR_SET_SECCOMP, 2, header)
