"""A headless Chromium, driven over its debugging pipe with the standard library alone."""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
BINARY = next(filter(None, map(shutil.which, NAMES)), None)
KEYS = {'ArrowLeft': 37, 'ArrowUp': 38, 'ArrowRight': 39, 'ArrowDown': 40, 'Tab': 9, 'Escape': 27}
PATIENCE = 120  # seconds for an answer
# The browser reads commands from descriptor 3 and answers on 4.
LAUNCH = """
import fcntl, os, sys
for number, pipe in enumerate([fcntl.fcntl(int(x), fcntl.F_DUPFD, 10) for x in sys.argv[1:3]]):
  os.dup2(pipe, 3 + number)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
  """One tab; `events` are all that the browser has told since it was opened."""

  def __init__(self, read, write):
    self.read, self.write, self.buffer = read, write, b''
    self.events, self.session, self.numbers = [], None, itertools.count(1)

  def send(self, method, **params):
    """The result of a command of the debugging protocol."""
    number = next(self.numbers)
    message = {'id': number, 'method': method, 'params': params}
    if self.session:
      message['sessionId'] = self.session
    os.write(self.write, json.dumps(message).encode() + b'\0')
    while True:
      answer = self._receive()
      if answer.get('id') == number:
        assert 'error' not in answer, answer
        return answer['result']
      self.events.append(answer)

  def _receive(self):
    deadline = time.monotonic() + PATIENCE
    while b'\0' not in self.buffer:
      ready, _, _ = select.select([self.read], [], [], max(0, deadline - time.monotonic()))
      assert ready, 'chromium does not answer'
      chunk = os.read(self.read, 1 << 16)
      assert chunk, 'chromium is gone'
      self.buffer += chunk
    message, self.buffer = self.buffer.split(b'\0', 1)
    return json.loads(message)

  def open(self, path, width=1280, height=900):
    """Loads a file and waits until it has been loaded."""
    target = self.send('Target.createTarget', url='about:blank')['targetId']
    self.session = self.send('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
    for domain in ('Page', 'Runtime', 'Log', 'Network'):
      self.send(f'{domain}.enable')
    self.send(
      'Emulation.setDeviceMetricsOverride',
      width=width,
      height=height,
      deviceScaleFactor=1,
      mobile=False,
    )
    self.send('Page.navigate', url=path.resolve().as_uri())
    self.wait("document.readyState === 'complete' && location.protocol === 'file:'", True)

  def run(self, expression):
    """The value of a JavaScript expression."""
    found = self.send('Runtime.evaluate', expression=expression, returnByValue=True)
    assert 'exceptionDetails' not in found, found['exceptionDetails']
    return found['result'].get('value')

  def wait(self, expression, value):
    """Until the expression has this value."""
    deadline = time.monotonic() + PATIENCE
    while self.run(expression) != value:
      assert time.monotonic() < deadline, f'{expression} is {self.run(expression)!r}'
      time.sleep(0.05)

  def press(self, key):
    """One key, as a keyboard sends it."""
    text = {'text': key} if len(key) == 1 else {}
    code = {'windowsVirtualKeyCode': KEYS[key]} if key in KEYS else {}
    for kind in ('keyDown', 'keyUp'):
      extra = text if kind == 'keyDown' else {}
      self.send('Input.dispatchKeyEvent', type=kind, key=key, **extra, **code)

  def screenshot(self, path):
    """What is in the window, as a PNG."""
    path.write_bytes(base64.b64decode(self.send('Page.captureScreenshot')['data']))

  def complaints(self):
    """Errors and warnings of the page: exceptions, console, what its policy refused."""
    found = []
    for event in self.events:
      params = event.get('params', {})
      if event['method'] == 'Runtime.exceptionThrown':
        found.append(params['exceptionDetails'])
      elif event['method'] == 'Runtime.consoleAPICalled':
        found.append(params['args'])
      elif event['method'] == 'Log.entryAdded':
        found.append(params['entry']['text'])
    return found

  def requests(self):
    """Addresses that were asked for, the page's own left out."""
    sent = [each for each in self.events if each['method'] == 'Network.requestWillBeSent']
    pairs = [(each['params']['request']['url'], each['params']['documentURL']) for each in sent]
    return [asked for asked, own in pairs if asked != own]


@contextlib.contextmanager
def browser(profile):
  """A page of a Chromium that ends with the block; `profile` is an empty folder."""
  (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
  command = [
    *(sys.executable, '-c', LAUNCH, str(theirs_in), str(theirs_out), BINARY),
    *('--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'),
    *('--remote-debugging-pipe', f'--user-data-dir={profile}', '--hide-scrollbars'),
    *('--no-first-run', '--disable-background-networking', '--disable-component-update'),
  ]
  process = subprocess.Popen(
    command,
    pass_fds=(theirs_in, theirs_out),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  os.close(theirs_in)
  os.close(theirs_out)
  try:
    page = Page(ours_in, ours_out)
    yield page
    page.session = None
    page.send('Browser.close')
  finally:
    try:
      process.wait(timeout=10)
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()
    os.close(ours_in)
    os.close(ours_out)
