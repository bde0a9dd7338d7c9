// The rollout browser: a step, or the prompts of all steps that hold a text; one shading for all.

const SHOWN_AT_ONCE = 24; // groups, when prompts of all steps are shown

class Rollouts {
  constructor(data) {
    this.data = data;
    this.run = data.runs.findIndex((run) => run.rollouts.length);
    this.shading = 0;
    this.at = -1; // place of the step among `steps`
    this.element = Object.fromEntries(
      ['whose', 'shading', 'step', 'step-now', 'step-field', 'before', 'after', 'filter', 'scale', 'found', 'groups', 'readout'].map(
        (id) => [id, document.getElementById(id)],
      ),
    );
    this.chooseRun();
    this.chooseShading();
    this.listen();
    this.select(this.run);
  }

  get groups() {
    return this.run < 0 ? [] : this.data.runs[this.run].rollouts;
  }

  get steps() {
    return [...new Set(this.groups.map((group) => group.step))];
  }

  get field() {
    return this.data.fields[this.shading];
  }

  chooseRun() {
    const some = this.data.runs.filter((run) => run.rollouts.length);
    if (some.length < 2) return;
    this.data.runs.forEach((run, number) => {
      const input = html('input', { type: 'radio', name: 'run', value: number });
      input.checked = number === this.run;
      input.addEventListener('change', () => this.select(number));
      this.element.whose.append(html('label', {}, input, ' ', key(number), ' ', run.name));
    });
  }

  chooseShading() {
    this.data.fields.forEach((field, number) => {
      const input = html('input', { type: 'radio', name: 'shading', value: field.name });
      input.checked = number === 0;
      input.addEventListener('change', () => this.shade(number));
      this.element.shading.append(html('label', {}, input, field.label, html('small', { 'aria-hidden': 'true' }, number + 1)));
    });
  }

  listen() {
    const { step, before, after, filter, groups } = this.element;
    step.addEventListener('input', () => this.go(Number(step.value)));
    before.addEventListener('click', () => this.go(this.at - 1));
    after.addEventListener('click', () => this.go(this.at + 1));
    filter.addEventListener('input', () => this.draw());
    groups.addEventListener('keydown', (event) => this.walk(event));
    for (const kind of ['focusin', 'pointerover']) {
      groups.addEventListener(kind, (event) => {
        const token = event.target.closest('.token');
        if (token) this.tell(token);
      });
    }
    document.addEventListener('keydown', (event) => this.shortcut(event));
  }

  shortcut(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    const typing = target.matches?.('input[type=search], select, textarea');
    if (event.key === 'Escape' && target === this.element.filter) {
      target.value = '';
      this.draw();
    }
    if (typing) return;
    if (event.key === '[' || event.key === ']') this.go(this.at + (event.key === ']' ? 1 : -1));
    else if (event.key === '/') this.element.filter.focus();
    else if (/^[1-9]$/.test(event.key) && Number(event.key) <= this.data.fields.length) this.shade(Number(event.key) - 1);
    else return;
    event.preventDefault();
  }

  select(number) {
    const before = this.steps[this.at];
    this.run = number;
    const nearest = this.steps.indexOf(before);
    this.at = nearest < 0 ? this.steps.length - 1 : nearest;
    this.element.step.max = Math.max(0, this.steps.length - 1);
    this.draw();
  }

  go(place) {
    this.element.filter.value = '';
    this.at = Math.max(0, Math.min(this.steps.length - 1, place));
    this.draw();
  }

  shade(number) {
    this.shading = number;
    this.element.shading.querySelectorAll('input')[number].checked = true;
    for (const token of this.element.groups.querySelectorAll('.token')) this.paint(token);
    for (const mean of this.element.groups.querySelectorAll('.mean')) this.average(mean);
    this.legend();
    this.tell(this.told);
  }

  draw() {
    const { step, before, after, filter, found, groups } = this.element;
    const wanted = filter.value.toLowerCase();
    const now = this.steps[this.at];
    step.value = this.at;
    step.setAttribute('aria-valuetext', `step ${now}`);
    this.element['step-now'].textContent = now === undefined ? '' : String(now);
    before.disabled = this.at <= 0;
    after.disabled = this.at >= this.steps.length - 1;
    const shown = wanted
      ? this.groups.filter((group) => group.prompt.toLowerCase().includes(wanted))
      : this.groups.filter((group) => group.step === now);
    groups.replaceChildren(...shown.slice(0, SHOWN_AT_ONCE).map((group) => this.group(group, Boolean(wanted))));
    found.textContent = this.message(shown, wanted);
    const first = groups.querySelector('.token');
    if (first) first.setAttribute('tabindex', '0');
    this.told = null;
    this.legend();
    this.tell(null);
  }

  message(shown, wanted) {
    if (!this.groups.length) return 'There are no rollouts to show.';
    const responses = shown.reduce((sum, group) => sum + group.rows.length, 0);
    const count = `${counted(shown.length, 'prompt')}, ${counted(responses, 'response')}`;
    if (!wanted) return `${count} of step ${this.steps[this.at]}, grouped by meaning.`;
    const most = shown.length > SHOWN_AT_ONCE ? `; the first ${SHOWN_AT_ONCE} are shown` : '';
    return `${count} in ${counted(new Set(shown.map((group) => group.step)).size, 'step')}${most}.`;
  }

  group(group, withStep) {
    const clusters = new Map();
    for (const row of group.rows) {
      const name = row.class;
      clusters.set(name, [...(clusters.get(name) ?? []), row]);
    }
    const best = (rows) => Math.max(...rows.map((row) => row.reward ?? -Infinity));
    const order = [...clusters].sort(
      ([a, rowsOfA], [b, rowsOfB]) =>
        (a === null) - (b === null) || rowsOfB.length - rowsOfA.length || best(rowsOfB) - best(rowsOfA) || 0,
    );
    const rewards = group.rows.map((row) => row.reward).filter((reward) => reward !== null);
    const mean = rewards.reduce((a, b) => a + b, 0) / (rewards.length || 1);
    const facts = [
      ...(withStep ? [`step ${group.step}`] : []),
      counted(group.rows.length, 'response'),
      counted(order.filter(([name]) => name !== null).length, 'meaning'),
      ...(rewards.length ? [`mean reward ${short(mean)}`] : []),
    ];
    const title = html('h3', { class: 'mono' });
    title.textContent = group.prompt;
    const header = html('header', {}, title, html('span', { class: 'facts' }, facts.join(' · ')));
    return html('article', { class: 'group' }, header, ...order.map(([name, rows]) => this.cluster(name, rows)));
  }

  cluster(name, rows) {
    const which = html('div', { class: 'which' });
    const label = html('h4', { class: 'mono' });
    label.textContent = name ?? 'without a meaning';
    which.append(label, html('span', { class: 'facts' }, counted(rows.length, 'response')));
    return html('section', { class: 'cluster' }, which, html('div', {}, ...rows.map((row) => this.response(row))));
  }

  response(row) {
    const right = row.reward === 1;
    const sign = row.reward === null ? '–' : `${right ? '✓' : row.reward === 0 ? '✗' : ''} ${short(row.reward)}`;
    const reward = html('span', { class: right ? 'reward right' : 'reward', title: `reward ${exact(row.reward)}` }, sign);
    const tokens = html('span', { class: 'tokens mono', role: 'group', 'aria-label': `Response, reward ${exact(row.reward)}` });
    row.tokens.forEach((text, place) => {
      const token = html('span', { class: 'token', tabindex: '-1' });
      token.textContent = visible(text);
      if (text === '' || (row.finished && place === row.tokens.length - 1)) token.classList.add('special');
      Object.assign(token, { row, place });
      this.paint(token);
      tokens.append(token);
    });
    const mean = html('span', { class: 'mean' });
    mean.row = row;
    this.average(mean);
    const line = html('div', { class: 'response' }, reward, tokens, mean);
    if (row.finished === false) reward.title += ', cut';
    return line;
  }

  paint(token) {
    const value = numberOf(token.row, this.field, token.place);
    const share = value === null ? 0 : Math.min(1, Math.abs(value) / this.field.top);
    token.classList.toggle('minus', value !== null && value < 0 && share > 0.01);
    token.classList.toggle('plus', !(value < 0));
    token.style.setProperty('--t', share.toFixed(3));
  }

  average(mean) {
    const values = (mean.row[this.field.name] ?? []).filter((value) => value !== null);
    const sum = values.reduce((a, b) => a + b, 0);
    mean.textContent = values.length ? `mean ${short(sum / values.length)}` : '';
  }

  legend() {
    const { scale } = this.element;
    const { label, unit, top, signed, largest, meaning, name } = this.field;
    if (name === 'none') {
      const any = this.groups.some((group) => group.rows.some((row) => 'entropy' in row));
      scale.textContent = any || !this.groups.length ? '' : 'This run has no numbers of tokens.';
      return;
    }
    const there = this.groups.some((group) => group.rows.some((row) => name in row));
    if (!there) {
      scale.textContent = this.groups.length ? `${label}: not recorded in this run.` : '';
      return;
    }
    const shares = signed ? [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1] : [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1];
    const ramp = html('span', { class: 'ramp', 'aria-hidden': 'true' });
    for (const share of shares) {
      const cell = html('span', { class: share < 0 ? 'token minus' : 'token plus' });
      cell.style.setProperty('--t', Math.abs(share));
      ramp.append(cell);
    }
    const ends = html('span', { class: 'ends' }, signed ? `${short(-top)}, dotted` : '0');
    const beyond = largest > top * 1.001 ? ` and more (largest ${short(largest)})` : '';
    const high = html('span', { class: 'ends' }, `${short(top)}${beyond} ${unit}`);
    const what = name === 'value' && this.data.runs[this.run].value_of;
    scale.replaceChildren(html('span', {}, meaning + (what ? `, ${what}` : '')), ends, ramp, high);
  }

  tell(token) {
    const { readout } = this.element;
    this.told = token;
    if (!token) {
      readout.replaceChildren(html('span', { class: 'facts' }, this.groups.length ? 'Point at a token, or reach it with Tab, for its numbers.' : ''));
      return;
    }
    const { row, place } = token;
    const head = html('b', { class: 'mono' }, JSON.stringify(row.tokens[place]));
    const parts = this.data.fields
      .filter((field) => field.name in row)
      .map((field) => html('span', {}, html('i', {}, field.label), `${exact(numberOf(row, field, place))} ${field.unit}`));
    if ('logp' in row) parts.push(html('span', {}, html('i', {}, 'log π'), `${exact(row.logp[place])} nats`));
    readout.replaceChildren(head, html('span', { class: 'facts' }, `token ${place + 1} of ${row.tokens.length}, reward ${exact(row.reward)}`), ...parts);
  }

  walk(event) {
    const token = event.target.closest('.token');
    if (!token) return;
    const tokens = [...this.element.groups.querySelectorAll('.token')];
    const lines = [...this.element.groups.querySelectorAll('.tokens')];
    const line = lines.indexOf(token.parentElement);
    const beside = (by) => {
      const other = lines[line + by];
      return other && other.children[Math.min(token.place, other.children.length - 1)];
    };
    const moves = {
      ArrowLeft: () => tokens[tokens.indexOf(token) - 1],
      ArrowRight: () => tokens[tokens.indexOf(token) + 1],
      ArrowUp: () => beside(-1),
      ArrowDown: () => beside(1),
      Home: () => token.parentElement.firstElementChild,
      End: () => token.parentElement.lastElementChild,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const next = moves[event.key]();
    if (!next) return;
    token.setAttribute('tabindex', '-1');
    next.setAttribute('tabindex', '0');
    next.focus();
  }
}

function counted(number, what) {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

function numberOf(row, field, place) {
  return row[field.name]?.[place] ?? null;
}

// Tokens without a shape of their own get one.
function visible(text) {
  return text === '' ? '·' : text.replaceAll('\n', '⏎\n').replaceAll('\t', '⇥');
}
