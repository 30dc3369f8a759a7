// @ts-check
/** A ring of figures at even times, with gaps; and the figures of a chart: scales, paths, summaries. Pure. */

export const KEPT = 900;

/** @typedef {number | null} Point null: no figure for this time */

/** The figures of the last 15 minutes at one name. */
export class Series {
  /** @param {number} start in ms @param {number} step in seconds @param {Point[]} values */
  constructor(start, step = 1, values = []) {
    this.start = start;
    this.step = step * 1000;
    this.values = values.slice(-KEPT);
    this.start += (values.length - this.values.length) * this.step;
  }

  /** Add the figure of a time, which stands for the last `span` seconds; older times without one become a gap.
   * @param {number} now in ms @param {Point | undefined} value @param {number} [span] */
  push(now, value, span = 1) {
    const index = Math.floor((now - this.start) / this.step);
    if (index < 0) return;
    if (index - this.values.length > KEPT) {
      this.values = [];
      this.start = now;
      this.values.push(value ?? null);
      return;
    }
    const since = index - Math.ceil((span * 1000) / this.step);
    while (this.values.length < index) this.values.push(this.values.length > since ? value ?? null : null);
    this.values[index] = value ?? null;
    const over = this.values.length - KEPT;
    if (over > 0) {
      this.values.splice(0, over);
      this.start += over * this.step;
    }
  }

  /** The figure at a time, or null. @param {number} time in ms @returns {Point} */
  at(time) {
    return this.values[Math.round((time - this.start) / this.step)] ?? null;
  }

  /** @returns {Point} */
  get last() {
    return this.values.length ? this.values[this.values.length - 1] : null;
  }
}

/** The top of an axis and its marks, from 0: steps of 1, 2 or 5 times a power of ten, at least `least`.
 * @param {number} max @param {number} [wanted] @param {number} [least] */
export function axis(max, wanted = 3, least = 0) {
  if (!(max > 0)) return { top: 1, marks: [0] };
  const rough = Math.max(max / wanted, least);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough * 0.9999) ?? power * 10;
  const marks = [];
  for (let n = 0; n * step <= max * 1.0001; n += 1) marks.push(n * step);
  if (marks[marks.length - 1] < max * 0.9999) marks.push(marks.length * step);
  return { top: marks[marks.length - 1], marks };
}

/** The largest figure of several series. @param {Iterable<Series>} all */
export function largest(all) {
  let max = 0;
  for (const each of all) for (const value of each.values) if (value !== null && value > max) max = value;
  return max;
}

/** A path through the figures: straight, broken at each gap; a lone figure is a short dash.
 * @param {Series} series @param {(time: number) => number} x @param {(value: number) => number} y @param {number} from in ms */
export function path(series, x, y, from) {
  let text = '';
  let open = false;
  const { values, start, step } = series;
  for (let i = Math.max(0, Math.floor((from - start) / step)); i < values.length; i += 1) {
    const value = values[i];
    if (value === null || value === undefined) {
      open = false;
      continue;
    }
    const place = `${x(start + i * step).toFixed(1)} ${y(value).toFixed(1)}`;
    const alone = !open && (values[i + 1] ?? null) === null;
    text += open ? `L${place}` : `M${place}${alone ? 'h1.5' : ''}`;
    open = true;
  }
  return text;
}

/** Round times for marks below a chart, at most `most` of them. @param {number} from in ms @param {number} to in ms @param {number} [most] */
export function timeMarks(from, to, most = 6) {
  const sizes = [1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const size = (sizes.find((each) => (to - from) / 1000 / each <= most) ?? 86400 * Math.ceil((to - from) / 86400e3 / most)) * 1000;
  const zone = new Date(to).getTimezoneOffset() * 60000;
  const marks = [];
  for (let time = Math.ceil((from - zone) / size) * size + zone; time <= to; time += size) marks.push(time);
  return marks;
}

/** The time of the first figure; null without one. @param {Iterable<Series>} all @returns {number | null} */
export function firstOf(all) {
  let first = null;
  for (const each of all) {
    const index = each.values.findIndex((value) => value !== null);
    const time = each.start + index * each.step;
    if (index >= 0 && (first === null || time < first)) first = time;
  }
  return first;
}

/** Lowest, highest and newest figure; null when there is none. @param {Series} series */
export function spread(series) {
  const known = /** @type {number[]} */ (series.values.filter((value) => value !== null));
  if (!known.length) return null;
  let [low, high, sum] = [known[0], known[0], 0];
  for (const value of known) {
    if (value < low) low = value;
    if (value > high) high = value;
    sum += value;
  }
  return { low, high, mean: sum / known.length, last: known[known.length - 1] };
}

/** Means of equal parts of a time, for small lines; null for a part without figures.
 * @param {Series} series @param {number} from in ms @param {number} to in ms @param {number} parts */
export function thinned(series, from, to, parts) {
  const size = Math.max((to - from) / parts, series.step);
  const sums = Array.from({ length: Math.ceil((to - from) / size) }, () => ({ sum: 0, count: 0 }));
  series.values.forEach((value, i) => {
    const part = sums[Math.floor((series.start + i * series.step - from) / size)];
    if (value === null || !part) return;
    part.sum += value;
    part.count += 1;
  });
  return new Series(from + size / 2, size / 1000, sums.map(({ sum, count }) => (count ? sum / count : null)));
}

/** Means of each minute, the newest first; null for a minute without figures. @param {Series} series @returns {{time: number, mean: Point}[]} */
export function minutes(series) {
  /** @type {Map<number, number[]>} */
  const found = new Map();
  series.values.forEach((value, i) => {
    const minute = Math.floor((series.start + i * series.step) / 60000) * 60000;
    const all = found.get(minute) ?? found.set(minute, []).get(minute) ?? [];
    if (value !== null) all.push(value);
  });
  const rows = [...found].map(([time, all]) => ({ time, mean: all.length ? all.reduce((a, b) => a + b) / all.length : null }));
  return rows.reverse();
}

/** Places for labels at wanted heights, so that none covers another. @param {number[]} wanted @param {number} gap @param {number} top @param {number} bottom */
export function spaced(wanted, gap, top, bottom) {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const places = [...wanted];
  let floor = top;
  for (const i of order) {
    places[i] = Math.max(places[i], floor);
    floor = places[i] + gap;
  }
  let ceiling = bottom;
  for (const i of [...order].reverse()) {
    places[i] = Math.min(places[i], ceiling);
    ceiling = places[i] - gap;
  }
  return places;
}
