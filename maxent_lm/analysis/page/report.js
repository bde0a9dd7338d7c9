// What the page shows of its data, from top to bottom.

const DATA = JSON.parse(document.getElementById('data').textContent);

// Steps and values of a metric; steps of its own where it is not in every row.
function seriesOf(metric) {
  return DATA.runs.flatMap((run, number) => {
    const found = run.metrics[metric];
    return found ? [{ number, name: run.name, steps: found.steps ?? run.steps, values: found.values }] : [];
  });
}

function drawCurves() {
  const smooth = document.getElementById('smooth').checked;
  const parts = [];
  for (const { title, charts } of DATA.families) {
    const grid = html('div', { class: 'grid' });
    for (const [metric, label, unit] of charts) {
      const series = seriesOf(metric);
      if (series.length) grid.append(lineChart(label, unit, series, smooth));
    }
    if (grid.children.length) parts.push(html('p', { class: 'family' }, title), grid);
  }
  if (!parts.length) parts.push(html('p', { class: 'note' }, 'No step has been finished.'));
  document.getElementById('charts').replaceChildren(...parts);
  drawOther();
}

function drawOther() {
  const { value } = document.getElementById('metric');
  const smooth = document.getElementById('smooth').checked;
  const charts = value ? [lineChart(value, '', seriesOf(value), smooth)] : [];
  document.getElementById('other').replaceChildren(...charts);
}

function listMetrics() {
  const shown = new Set(DATA.families.flatMap(({ charts }) => charts.map((chart) => chart[0])));
  const all = new Set(DATA.runs.flatMap((run) => Object.keys(run.metrics)));
  const select = document.getElementById('metric');
  select.append(html('option', { value: '' }, 'choose one'));
  for (const name of [...all].filter((each) => !shown.has(each)).sort()) {
    select.append(html('option', { value: name }, name));
  }
  select.addEventListener('change', drawOther);
}

function drawPlanes() {
  const planes = document.getElementById('planes');
  const { x, y } = DATA.plane;
  const estimate = (row, name) => [row[name], row[`${name}_low`] ?? null, row[`${name}_high`] ?? null];
  const points = DATA.runs.flatMap((run, number) => {
    const row = run.evaluation;
    if (!row || typeof row[x] !== 'number' || typeof row[y] !== 'number') return [];
    return [{ number, name: run.name, x: estimate(row, x), y: estimate(row, y) }];
  });
  if (points.length) planes.append(pointChart('On the test problems, with 95% intervals', x, y, points));
  const paths = DATA.runs.flatMap((run, number) => {
    const [success, distinct] = ['success', 'distinct'].map((name) => run.metrics[name]?.values ?? []);
    if (success.length !== distinct.length || !success.some((value, i) => value !== null && distinct[i] !== null)) return [];
    return [{ number, name: run.name, x: blockMeans(success, 20), y: blockMeans(distinct, 20) }];
  });
  if (paths.length) planes.append(pathChart('In training, means over twentieths of the run', 'share of right responses', 'different right ones a prompt', paths));
  if (!planes.children.length) planes.append(html('p', { class: 'note' }, 'Nothing to show: no evaluation, and no count of different right responses.'));
}

function drawEvaluation() {
  const place = document.getElementById('evaluated');
  const runs = DATA.runs.filter((run) => run.evaluation);
  if (!runs.length) {
    place.append(html('p', { class: 'note' }, 'No run has an evaluation.json: evaluate it with experiments/evaluate.py.'));
    return;
  }
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.evaluation)))].filter(
    (name) => !/_(low|high)$/.test(name) && runs.some((run) => typeof run.evaluation[name] === 'number'),
  );
  const main = DATA.main.filter((name) => names.includes(name));
  const table = (rows) => {
    const head = html('tr', {}, html('th', { scope: 'col' }, 'figure'), ...runs.map((run) => html('th', { scope: 'col' }, run.name)));
    const body = rows.map((name) => html('tr', {}, html('th', { scope: 'row' }, name), ...runs.map((run) => cell(run.evaluation, name))));
    return html('div', { class: 'scroll' }, html('table', {}, html('thead', {}, head), html('tbody', {}, ...body)));
  };
  const others = names.filter((name) => !main.includes(name));
  place.append(html('p', { class: 'hint' }, 'In brackets the 95% interval, where evaluation.json has one.'), table(main.length ? main : others));
  if (main.length && others.length) {
    const summary = html('summary', {}, 'All other figures ', html('span', { class: 'count' }, others.length));
    place.append(html('details', {}, summary, table(others)));
  }
}

function cell(row, name) {
  if (typeof row[name] !== 'number') return html('td', {}, '–');
  const [low, high] = [row[`${name}_low`], row[`${name}_high`]];
  const found = html('td', { title: exact(row[name]) }, short(row[name]));
  if (typeof low === 'number') found.append(html('span', { class: 'ci' }, `  [${short(low)}, ${short(high)}]`));
  return found;
}

function drawKeys() {
  for (const place of document.querySelectorAll('.key')) place.append(key(Number(place.dataset.style)));
  if (DATA.runs.length < 2) return;
  DATA.runs.forEach((run, number) => {
    document.getElementById('legend').append(html('span', {}, key(number), ' ', run.name));
  });
}

function chooseTheme() {
  const button = document.getElementById('theme');
  const system = matchMedia('(prefers-color-scheme: dark)');
  const themes = ['system', 'light', 'dark'];
  let now = 0;
  const apply = () => {
    const dark = themes[now] === 'dark' || (themes[now] === 'system' && system.matches);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    button.textContent = `Theme: ${themes[now]}`;
  };
  button.addEventListener('click', () => {
    now = (now + 1) % themes.length;
    apply();
  });
  system.addEventListener('change', apply);
  apply();
}

chooseTheme();
drawKeys();
listMetrics();
drawCurves();
document.getElementById('smooth').addEventListener('change', drawCurves);
drawPlanes();
drawEvaluation();
new Rollouts(DATA);
