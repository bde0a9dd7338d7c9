"""What a process gives up before it runs code of a model.

Tiers, strongest first; each one has all that the later ones have, where the kernel offers it:

  ns        own user, mount, pid, network, ipc, host name and cgroup namespaces; the root is an
            empty file system with the interpreter's library and three devices, read-only
  landlock  the file system as it is, but Landlock lets only the interpreter's library be read
  pure      seccomp lets no file be opened at all; the modules in zygote.py are loaded before

All three: no capabilities, no new privileges, the seccomp filter of syscalls.py, limits on memory,
CPU seconds and open files. Known limits: in `landlock` the size and date (not the content) of files
whose path is known can be asked for; threads, sockets and subprocesses are refused everywhere.
"""

import math
import os
import resource
import signal
import sysconfig
from collections.abc import Iterator

from maxent_lm.tasks.sandbox import kernel, syscalls

TIERS = ('ns', 'landlock', 'pure')

DEVICES = ('/dev/null', '/dev/zero', '/dev/urandom')
NEW_ROOT = '/proc'  # hidden by the mount, in our own namespace only; nothing we need lies there
NOBODY = 65534
STACK_BYTES = 64 * 2**20
OPEN_FILES = 32


def library_roots() -> list[str]:
  """Folders that imports read: the standard library and the shared libraries beside it."""
  stdlib = os.path.realpath(sysconfig.get_path('stdlib'))
  wanted = [os.path.dirname(stdlib), '/usr/lib', '/usr/lib64', '/lib', '/lib64']
  wanted += ['/usr/share/zoneinfo']
  roots: list[str] = []
  for path in map(os.path.realpath, wanted):
    if os.path.isdir(path) and not any(f'{path}/'.startswith(f'{root}/') for root in roots):
      roots.append(path)
  return roots


def installed_packages() -> list[str]:
  """Folders of other people's packages within the roots: not part of the standard library."""
  stdlib = os.path.realpath(sysconfig.get_path('stdlib'))
  lib = os.path.dirname(stdlib)
  candidates = [f'{stdlib}/site-packages', f'{stdlib}/dist-packages']
  candidates += [f'{lib}/python3/dist-packages', '/usr/lib/python3/dist-packages']
  return sorted({path for path in map(os.path.realpath, candidates) if os.path.isdir(path)})


def _without(path: str, hidden: list[str]) -> Iterator[str]:
  """`path`, or what lies beneath it without the hidden folders."""
  if path in hidden:
    return
  if not any(other.startswith(f'{path}/') for other in hidden):
    yield path
    return
  for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
    if not entry.is_symlink():
      yield from _without(entry.path, hidden)


def unshare_all() -> None:
  """Enters new namespaces; a child must be forked to be in the one of pids."""
  user, group = os.geteuid(), os.getegid()
  kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
  for name, text in (
    ('setgroups', 'deny'),
    ('uid_map', f'{NOBODY} {user} 1'),
    ('gid_map', f'{NOBODY} {group} 1'),
  ):
    with open(f'/proc/self/{name}', 'w') as file:
      file.write(text)
  kernel.unshare(
    kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
  )


def _bind(path: str) -> None:
  target = NEW_ROOT + path
  if os.path.isdir(path):
    os.makedirs(target, exist_ok=True)
  else:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
  kernel.mount(path, target, '', kernel.MS_BIND | kernel.MS_REC)
  if path not in DEVICES:
    kernel.make_read_only(target)


def enter_empty_root() -> None:
  """Leaves the host's file system for one with the library and the devices only."""
  kernel.mount('', '/', '', kernel.MS_REC | kernel.MS_PRIVATE)
  flags = kernel.MS_NOSUID | kernel.MS_NODEV
  kernel.mount('tmpfs', NEW_ROOT, 'tmpfs', flags, 'size=1m,mode=0755')
  for path in (*library_roots(), *DEVICES):
    _bind(path)
  for path in ('/lib', '/lib64'):
    if os.path.islink(path):
      os.symlink(os.readlink(path), NEW_ROOT + path)
  for path in installed_packages():
    kernel.mount('tmpfs', NEW_ROOT + path, 'tmpfs', flags | kernel.MS_RDONLY, 'size=4k')
  os.mkdir(f'{NEW_ROOT}/old')
  kernel.pivot_root(NEW_ROOT, f'{NEW_ROOT}/old')
  os.chdir('/')
  kernel.unmount('/old')
  os.rmdir('/old')
  kernel.mount('', '/', '', kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | flags)


def restrict(tier: str) -> None:
  """Gives up capabilities and, with Landlock, the file system; for good, and for all children."""
  kernel.drop_capabilities()
  kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
  kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
  if tier == 'pure':
    return
  try:
    kernel.landlock_version()
  except OSError:
    if tier == 'landlock':
      raise
    return  # namespaces hide the files already
  hidden = installed_packages()
  roots = library_roots()
  readable = [path for root in roots for path in _without(root, hidden)]
  kernel.restrict_files([*readable, *DEVICES], roots)


def used_address_space() -> int:
  """Bytes of address space this process has; asked for before /proc is gone."""
  with open('/proc/self/statm') as file:
    return int(file.read().split()[0]) * os.sysconf('SC_PAGE_SIZE')


def lock(program: bytes, *, parent: int, address_space: int, cpu_s: float) -> None:
  """The last step, in a process of its own: limits, then the filter. Nothing is given back."""
  kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
  if os.getppid() != parent:  # it died before we asked to die with it
    os._exit(1)
  kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
  limits = {
    resource.RLIMIT_AS: address_space,
    resource.RLIMIT_STACK: STACK_BYTES,
    resource.RLIMIT_NOFILE: OPEN_FILES,
    resource.RLIMIT_NPROC: 0,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_MEMLOCK: 0,
  }
  for limit, value in limits.items():
    value = min(value, resource.getrlimit(limit)[1] % 2**64)  # -1 is no limit
    resource.setrlimit(limit, (value, value))
  # Whole seconds, and SIGXCPU can be ignored for one more; the timer is finer and comes first.
  seconds = math.ceil(cpu_s)
  resource.setrlimit(resource.RLIMIT_CPU, (seconds + 1, seconds + 1))
  signal.setitimer(signal.ITIMER_PROF, cpu_s)
  kernel.install_filter(program)


def build_program(tier: str) -> bytes:
  """The seccomp filter of a tier, ready to install."""
  program = syscalls.build_filter(syscalls.this_machine(), may_open=tier != 'pure')
  return syscalls.pack(program)
