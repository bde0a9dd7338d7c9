'use strict';
// Charts: small SVG pictures of the numbers in the page's data. Text is only ever set as text.

const SVG = 'http://www.w3.org/2000/svg';
const MARKERS = ['circle', 'square']; // one a run, beside its colour and its line

function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Few digits, as axes and tables have them.
function short(x) {
  if (x === null || x === undefined) return '–';
  if (x === 0) return '0';
  const size = Math.abs(x);
  if (size >= 1e5 || size < 1e-4) return x.toExponential(1).replace('e+', 'e').replace('-', '−');
  return String(Number(x.toPrecision(3))).replace('-', '−');
}

// All the digits that the page has.
function exact(x) {
  return x === null || x === undefined ? 'not finite' : String(x).replace('-', '−');
}

function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((x) => x * power).find((x) => x >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const found = [];
  for (let i = first; i * step <= high + step * 1e-6; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// The running mean over the last `width` values that there are.
function runningMean(values, width) {
  return values.map((value, i) => {
    if (value === null) return null;
    const window = values.slice(Math.max(0, i + 1 - width), i + 1).filter((x) => x !== null);
    return window.reduce((a, b) => a + b, 0) / window.length;
  });
}

// Means of up to `count` parts of the values, one after the other.
function blockMeans(values, count) {
  const parts = Math.min(count, values.length);
  return Array.from({ length: parts }, (_, i) => {
    const [from, to] = [i, i + 1].map((at) => Math.round((at * values.length) / parts));
    return runningMean(values.slice(from, to), to - from).findLast((value) => value !== null) ?? null;
  });
}

function marker(kind, x, y, size = 3.4) {
  const shape =
    kind === 'circle'
      ? svg('circle', { cx: x, cy: y, r: size })
      : svg('rect', { x: x - size, y: y - size, width: 2 * size, height: 2 * size });
  shape.classList.add('mark');
  return shape;
}

// The key of a run: its colour, its marker, its line.
function key(number) {
  const group = svg('g', { class: `s${number}` }, svg('path', { d: 'M1 6H29', class: 'curve' }));
  group.append(marker(MARKERS[number], 15, 6));
  return svg('svg', { width: 30, height: 12, viewBox: '0 0 30 12', 'aria-hidden': 'true' }, group);
}

function pathOf(points) {
  let path = '';
  let pen = 'M';
  for (const [x, y] of points) {
    if (y === null) {
      pen = 'M';
    } else {
      path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = 'L';
    }
  }
  return path;
}

function range(values, padding) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (high - low < 1e-12 * Math.max(1, Math.abs(high))) {
    low -= Math.abs(low) * 0.5 || 0.5;
    high += Math.abs(high) * 0.5 || 0.5;
  }
  const more = (high - low) * padding;
  return [low >= 0 ? Math.max(0, low - more) : low - more, high + more];
}

// A frame with axes: {svg, x, y, box}, x and y from data to the picture.
function frame({ width, height, xs, ys, xLabel, yLabel }) {
  const box = { left: 44, right: width - 12, top: 8, bottom: height - (xLabel ? 34 : 22) };
  const scale = ([low, high], from, to) => (value) => from + ((value - low) / (high - low)) * (to - from);
  const x = scale(xs, box.left, box.right);
  const y = scale(ys, box.bottom, box.top);
  const picture = svg('svg', { viewBox: `0 0 ${width} ${height}` });
  for (const at of ticks(...ys, 4)) {
    picture.append(svg('path', { d: `M${box.left} ${y(at)}H${box.right}`, class: 'axis' }));
    picture.append(svg('text', { x: box.left - 6, y: y(at) + 4, 'text-anchor': 'end' }, short(at)));
  }
  for (const at of ticks(...xs, 5)) {
    picture.append(svg('text', { x: x(at), y: box.bottom + 15, 'text-anchor': 'middle' }, short(at)));
  }
  if (xLabel) picture.append(svg('text', { x: (box.left + box.right) / 2, y: height - 4, 'text-anchor': 'middle' }, xLabel));
  if (yLabel) picture.append(svg('text', { x: box.left + 4, y: box.top + 6 }, yLabel));
  return { picture, x, y, box };
}

// Series over steps. `series`: [{number, name, steps, values}], number says which run.
function lineChart(title, unit, series, smooth) {
  const output = html('output', {});
  const caption = html('figcaption', {}, title, html('small', {}, unit ? `  ${unit}` : ''));
  const figure = html('figure', { class: 'chart' }, caption, output);
  const finite = series.flatMap((each) => each.values.filter((value) => value !== null));
  const steps = [...new Set(series.flatMap((each) => each.steps))].sort((a, b) => a - b);
  if (!finite.length) {
    output.textContent = 'no finite number';
    return figure;
  }
  const xs = [steps[0], Math.max(steps[steps.length - 1], steps[0] + 1)];
  const { picture, x, y, box } = frame({ width: 330, height: 178, xs, ys: range(finite, 0.06) });
  for (const { number, steps: own, values } of series) {
    const width = smooth ? Math.max(1, Math.floor(values.length / 20)) : 1;
    const mean = runningMean(values, width);
    const group = svg('g', { class: `s${number}` });
    const points = (all) => all.map((value, i) => [x(own[i]), value === null ? null : y(value)]);
    if (width > 1) group.append(svg('path', { d: pathOf(points(values)), class: 'raw' }));
    group.append(svg('path', { d: pathOf(points(mean)), class: 'curve' }));
    const every = Math.max(1, Math.floor(own.length / 6));
    const first = Math.floor((every * (number + 1)) / 3);
    mean.forEach((value, i) => {
      if (value !== null && (i % every === first % every || own.length < 3)) {
        group.append(marker(MARKERS[number], x(own[i]), y(value), 2.8));
      }
    });
    picture.append(group);
  }
  const said = series.map(({ name, steps: own, values }) => {
    return `${name}: ${short(values[0])} at step ${own[0]}, ${short(values[values.length - 1])} at step ${own[own.length - 1]}`;
  });
  picture.setAttribute('role', 'img');
  picture.setAttribute('tabindex', '0');
  picture.setAttribute('aria-label', `${title}. ${said.join('. ')}`);
  const cursor = svg('path', { class: 'cursor' });
  picture.append(cursor);
  let place = steps.length - 1;
  const look = (at) => {
    place = Math.max(0, Math.min(steps.length - 1, at));
    const step = steps[place];
    cursor.setAttribute('d', `M${x(step)} ${box.top}V${box.bottom}`);
    cursor.style.visibility = 'visible';
    const told = series.map(({ name, steps: own, values }) => {
      const found = own.indexOf(step);
      return `${series.length > 1 ? `${name} ` : ''}${found < 0 ? '–' : exact(values[found])}`;
    });
    output.textContent = `step ${step}: ${told.join(', ')}`;
  };
  const rest = () => {
    cursor.style.visibility = 'hidden';
    output.textContent = `last: ${series.map(({ values }) => exact(values[values.length - 1])).join(', ')}`;
  };
  picture.addEventListener('pointermove', (event) => {
    const bounds = picture.getBoundingClientRect();
    const at = ((event.clientX - bounds.left) / bounds.width) * 330;
    const distances = steps.map((step) => Math.abs(x(step) - at));
    look(distances.indexOf(Math.min(...distances)));
  });
  picture.addEventListener('pointerleave', rest);
  picture.addEventListener('focus', () => look(place));
  picture.addEventListener('blur', rest);
  picture.addEventListener('keydown', (event) => {
    const far = Math.max(1, Math.round(steps.length / 10));
    const moves = { ArrowLeft: place - 1, ArrowRight: place + 1, PageDown: place - far, PageUp: place + far, Home: 0, End: steps.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    look(moves[event.key]);
  });
  rest();
  figure.append(picture);
  return figure;
}

// Points with intervals in a plane. `points`: [{number, name, x: [value, low, high], y: ...}].
function pointChart(title, xLabel, yLabel, points) {
  const all = (axis) => points.flatMap((point) => point[axis].filter((value) => value !== null));
  const xs = range(all('x'), 0.25);
  const ys = range(all('y'), 0.25);
  const { picture, x, y } = frame({ width: 470, height: 300, xs, ys, xLabel, yLabel });
  for (const point of points) {
    const [px, xLow, xHigh] = point.x;
    const [py, yLow, yHigh] = point.y;
    const group = svg('g', { class: `s${point.number}` });
    if (xLow !== null) group.append(svg('path', { class: 'whisker', d: `M${x(xLow)} ${y(py)}H${x(xHigh)}` }));
    if (yLow !== null) group.append(svg('path', { class: 'whisker', d: `M${x(px)} ${y(yLow)}V${y(yHigh)}` }));
    group.append(marker(MARKERS[point.number], x(px), y(py), 5.5));
    group.append(svg('text', { class: 'name', x: x(px) + 9, y: y(py) - 8 }, point.name));
    picture.append(group);
  }
  picture.setAttribute('role', 'img');
  const said = points.map((point) => `${point.name}: ${xLabel} ${short(point.x[0])}, ${yLabel} ${short(point.y[0])}`);
  picture.setAttribute('aria-label', `${title}. ${said.join('. ')}`);
  return html('figure', { class: 'chart' }, html('figcaption', {}, title), picture);
}

// Where runs go in a plane of two numbers of their steps; a hollow marker where they begin.
function pathChart(title, xLabel, yLabel, paths) {
  const all = (axis) => paths.flatMap((path) => path[axis].filter((value) => value !== null));
  const { picture, x, y } = frame({ width: 470, height: 300, xs: range(all('x'), 0.12), ys: range(all('y'), 0.12), xLabel, yLabel });
  for (const path of paths) {
    const points = path.x.map((value, i) => (value === null || path.y[i] === null ? [0, null] : [x(value), y(path.y[i])]));
    const group = svg('g', { class: `s${path.number}` }, svg('path', { d: pathOf(points), class: 'curve' }));
    const there = points.filter((point) => point[1] !== null);
    for (const point of there) group.append(marker(MARKERS[path.number], ...point, 2.2));
    const start = marker(MARKERS[path.number], ...there[0], 4.5);
    start.style.fill = 'var(--card)';
    start.style.stroke = 'var(--own)';
    start.style.strokeWidth = 1.6;
    const end = there[there.length - 1];
    group.append(start, marker(MARKERS[path.number], ...end, 5));
    group.append(svg('text', { class: 'name', x: end[0] + 9, y: end[1] - 8 }, path.name));
    picture.append(group);
  }
  picture.setAttribute('role', 'img');
  picture.setAttribute('aria-label', `${title}. ${paths.map((path) => path.name).join(', ')}`);
  return html('figure', { class: 'chart' }, html('figcaption', {}, title, html('small', {}, '  hollow: the first steps')), picture);
}
