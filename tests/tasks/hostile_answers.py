"""Answers written to hang, blow up or fool a verifier, by kind; none of them says 42.

MARK is a file that their code would make.
"""

import itertools
import os
import tempfile

MARK = os.path.join(tempfile.gettempdir(), 'maxent_lm_code_was_run')


def nest(opening: str, inner: str, closing: str, times: int) -> str:
  return opening * times + inner + closing * times


def ladder(step: str, times: int) -> str:
  """x, then `step` with the last one in the place of its %, again and again."""
  text = 'x'
  for _ in range(times):
    text = step.replace('%', text)
  return text


HOSTILE = {
  'towers': [
    '9^{9^{9^{9}}}',
    '9^9^9^9^9^9^9^9^9',
    '2**2**2**2**2**2**2**2**2',
    '(((9^9)^9)^9)^9',
    '10^{10^{10}}',
    '9^{-9^{9^9}}',
    r'\sqrt[64]{9^{9^9}}',
    '0^{0^0}',
    '(-8)^{1/3^{9^9}}',
    nest('2^{', '2', '}', 100),
    r'1.0000001^{10^{10^{10}}}',
    r'e^{e^{e^{e^{e^{e}}}}}',
    r'\pi^{\pi^{\pi^{\pi^{\pi}}}}',
  ],
  'factorials': [
    '99999999!',
    '9!!!!!!!!!!',
    '(((9!)!)!)!',
    r'\binom{10^{9}}{10^{8}}',
    r'\binom{99999999}{44444444}',
    r'\frac{99999!}{99998!}',
    r'\log(99999999!)',
  ],
  'digits': [
    '9' * 500,
    '9' * 100_000,
    '9' * 10**6,
    '1' + '0' * 400 + '.' + '9' * 90,
    '1e999999999',
    '1e-399',
    '0.' + '0' * 400 + '1',
    r'0.\overline{' + '7' * 480 + '}',
    '1,' * 250 + '1',
    r'\frac{' + '9' * 250 + '}{' + '7' * 250 + '}',
    r'\sqrt{' + '9' * 400 + '}',
    r'\sqrt{' + str((10**40 + 121) * (10**41 + 109)) + '}',
  ],
  'nesting': [
    nest('(', '41', ')', 200),
    nest('(', '41', ')', 100_000),
    nest('{', '41', '}', 10_000),
    nest(r'\sqrt{', '42', '}', 60),
    nest(r'\frac{1}{', '42', '}', 51),
    nest('|', 'x', '|', 100),
    nest(r'\left\{', '42', r'\right\}', 30),
    nest('[', '1,2', ']', 100),
    nest(r'\sin ', 'x', '', 100),
    nest(r'\boxed{', '41', '}', 1000),
    '-' * 500 + '1',
    '+-' * 200 + '1',
    '(' * 10**6,
    '{' * 10**6,
    r'\frac' * 100,
  ],
  'size': [
    '(a+b+c+d+f+g+h)^{64}',
    '(a+b+c+d+f+g+h+k+l+m+n)^{20}(x+y+z)^{20}',
    '+'.join(f'x_{{{n}}}' for n in range(70)),
    '*'.join(f'(x_{{{n}}}+1)' for n in range(40)),
    r'(1+\sqrt2+\sqrt3+\sqrt5+\sqrt7+\sqrt{11}+\sqrt{13})^{60}',
    r'\frac{1}{1+\frac{1}{x+\frac{1}{y+\frac{1}{z+\frac{1}{w+\frac{1}{u+v}}}}}}^{30}',
    r'\begin{pmatrix}' + ' & '.join('1' * 9 for _ in range(40)) + r'\end{pmatrix}',
    ','.join(str(n) for n in range(150)),
    ' ' * 100_000 + '41',
    '4' + ' ' * 100_000 + '2',
    '1+' * 250 + '1',
    r'x^{99999999}',
    r'(x+y)^{99999999}',
    r'[10^{9999},10^{99999}]',
    r'\pm' * 100 + '1',
    r'\{' + r'1\pm 2,' * 60 + r'3\}',
  ],
  'powers inside functions': [
    *(
      ladder(f'\\{name}((1+%)^9)', times)
      for name, times in itertools.product(('sin', 'cos', 'exp', 'sqrt'), range(4, 9))
    ),
    ladder(r'\sqrt{1+%}^9', 6),
    ladder('2^{(1+%)^9}', 6),
    ladder(r'\ln(1+%)^9', 7),
    ladder('|1+%|^{20}', 7),
    ladder(r'\sqrt{1+%}', 3) + '^{60}',
    r'(\sqrt{1+\sqrt{1+\sqrt{1+x}}}+1)^{60}',
    r'\sqrt{\sqrt{\sqrt{\sqrt{1+\sqrt{x}}+1}+1}+1}^{60}',
    r'(\sin x+\cos x+\sqrt{1+x}+1)^{40}',
    '(' + ladder(r'\sin(1+%)', 20) + '+1)^{60}',
  ],
  'code': [
    f"__import__('os').system('touch {MARK}')",
    f"open('{MARK}','w')",
    f"exec('open(\\'{MARK}\\',\\'w\\')')",
    f"().__class__.__base__.__subclasses__()[0]('touch {MARK}')",
    f"eval(compile('open(\"{MARK}\",\"w\")','','exec'))",
    f'\\text{{__import__("os").system("touch {MARK}")}}',
    f'$(touch {MARK})',
    f'`touch {MARK}`',
    '; import os; os._exit(0)',
    'sympify("42")',
    'lambda: 42',
    'print(42)',
    'def f(): return 42',
    '42 if True else 0',
    '{"__reduce__": 42}',
    r'\input{/etc/passwd}',
    r'\write18{id}',
    'S(42)',
    'Integer(42)',
    '[42 for x in (1,)][0]',
  ],
  'bytes': [
    '\x00',
    '42\x00',
    '\u202e42',
    '\ud800',
    '４２',
    '٤٢',
    '4\u200b2',
    '🍎42',
    '\ufeff42',
    '42\x1b[2J',
  ],
  'fooling': [
    '42 = 42',
    'x = 42 = 42',
    '42 = x = 42',
    '6 * 7 = 42',
    '41 or 42',
    '42, 43',
    r'\{41, 42, 43\}',
    '[42, 42]',
    '(-\\infty, \\infty)',
    'x = x',
    'x',
    r'42 \pm 0.1',
    r'\approx 42',
    'about 42',
    '42?',
    '101010_2',
    r'\text{42 or 43}',
    '42 42',
    '42^{?}',
    'the right answer',
    'gold',
    '',
    ' ',
    r'\boxed{41} \boxed{42}',
    '0/0',
    '42 + 0/0',
    '42 \\cdot 0^0',
    '\\infty',
    'nan',
    '1/0 = 1/0',
  ],
}
