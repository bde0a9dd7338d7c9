"""What mkdocs.yml cannot say: formulas as MathML, and a page of the API for every room.

Formulas are ```math fences, which GitHub typesets too; as MathML they need no script and no font
from elsewhere. Docstrings are plain text to be read in the source, where pi* and [B, T] are no
Markdown: `PlainText` keeps them so.
"""

import ast
import html
import pathlib
import re
from typing import Any

import griffe
import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = pathlib.Path(__file__).parent / 'maxent_lm'
FOLDER = 'api'


def on_config(config: MkDocsConfig) -> MkDocsConfig:
  """Adds the fence for formulas, and the pages of the API to the navigation."""
  fences = {'custom_fences': [{'name': 'math', 'class': 'math', 'format': formula}]}
  config.mdx_configs.setdefault('pymdownx.superfences', {}).update(fences)
  assert config.nav is not None
  config.nav.append({'API': [{name: f'{FOLDER}/{name}.md'} for name in rooms()]})
  return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
  """Adds the pages of the API."""
  for name, modules in rooms().items():
    text = f'# {name}\n\n' + '\n'.join(map(directive, modules))
    files.append(File.generated(config, f'{FOLDER}/{name}.md', content=text))
  return files


def rooms() -> dict[str, list[str]]:
  """Modules of every room by its name; those that are no package are the room 'maxent_lm'."""
  found: dict[str, list[str]] = {'maxent_lm': []}
  for path in sorted(PACKAGE.rglob('*.py')):
    parts = path.relative_to(PACKAGE.parent).with_suffix('').parts
    if parts[-1] in ('__init__', '__main__'):
      parts = parts[:-1]
    if len(parts) == 1:
      continue
    own = parts[1] if (PACKAGE / parts[1]).is_dir() else 'maxent_lm'
    module = '.'.join(parts)
    if module not in found.setdefault(own, []):
      found[own].append(module)
  return found


def directive(module: str) -> str:
  """What shows a module; of a package only what it defines itself, as the rest has its own."""
  path = PACKAGE.parent.joinpath(*module.split('.'), '__init__.py')
  if not path.exists():
    return f'::: {module}\n'
  own = []
  for node in ast.parse(path.read_text()).body:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
      own.append(node.name)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
      targets = node.targets if isinstance(node, ast.Assign) else [node.target]
      own += [each.id for each in targets if isinstance(each, ast.Name)]
  public = [name for name in own if not name.startswith('_')]
  return f'::: {module}\n    options:\n      members: {public}\n'


def formula(source: str, *_: Any, **__: Any) -> str:
  """LaTeX to MathML, one formula a paragraph of the fence."""
  shown = [
    latex2mathml.converter.convert(' '.join(part.split()), display='block')
    for part in html.unescape(source).split('\n\n')
  ]
  return f'<div class="math">{"".join(shown)}</div>'


class PlainText(griffe.Extension):
  """Docstrings as they are meant: indented paragraphs are code, and brackets and stars are text."""

  def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
    """Rewrites the docstring of a module, class, function or attribute."""
    if obj.docstring:
      parts = re.split(r'\n{2,}', obj.docstring.value)
      obj.docstring.value = '\n\n'.join(map(as_markdown, parts))


def as_markdown(part: str) -> str:
  """One paragraph of a docstring."""
  if all(line.startswith('  ') for line in part.splitlines()) and part.strip():
    return f'```text\n{part}\n```'
  spans = re.split(r'(`[^`]*`)', part.replace(' || ', r' \|\| '))
  spans[::2] = [re.sub(r'([\[\]*<])', r'\\\1', text) for text in spans[::2]]
  return ''.join(spans)
