// @ts-check
/** A histogram as a strip of cells: the darker, the more calls took that long. */

import { h, set } from './dom.js';
import { percent, plural, seconds, whole } from './format.js';

export const BOUNDS = [50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** The range of cell `i`. @param {number} i @param {number[]} bounds */
export function range(i, bounds) {
  if (i === 0) return `up to ${seconds(bounds[0])}`;
  return i < bounds.length ? `${seconds(bounds[i - 1])} to ${seconds(bounds[i])}` : `over ${seconds(bounds[bounds.length - 1])}`;
}

/** The shade of a cell, 0 to 1: by the root of its share, so that few calls are seen beside many. @param {number} count @param {number} most */
export const shade = (count, most) => (count > 0 ? 0.12 + 0.88 * Math.sqrt(count / most) : 0);

/** @param {number[]} cells @param {number[]} bounds */
export function sentence(cells, bounds) {
  const all = cells.reduce((sum, each) => sum + each, 0);
  if (!all) return 'no calls';
  const most = cells.indexOf(Math.max(...cells));
  const last = cells.reduce((found, each, i) => (each ? i : found), 0);
  return `${plural(all, 'call')}, ${percent(cells[most] / all)} of them ${range(most, bounds)}, the longest ${range(last, bounds)}`;
}

/** @param {number[]} cells @param {number[]} [bounds] */
export function strip(cells, bounds = BOUNDS) {
  const most = Math.max(...cells, 0);
  return h('span', { class: 'strip', role: 'img', 'aria-label': sentence(cells, bounds) }, cells.map((count, i) => {
    const cell = h('i', { title: `${range(i, bounds)}: ${whole(count)}` });
    set(cell, '--shade', shade(count, most).toFixed(3));
    return cell;
  }));
}

/** The scale of a column of strips. @param {number} cells @param {number[]} [bounds] */
export const stripScale = (cells, bounds = BOUNDS) => h('span', { class: 'strip scale', 'aria-hidden': 'true' }, Array.from({ length: cells }, (_, i) => h('i', null, [1e-3, 0.1, 10].includes(bounds[i]) ? h('span', null, seconds(bounds[i])) : null)));
