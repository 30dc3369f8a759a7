// @ts-check
/** Figures, times and texts, as the command line shows them. Pure. */

const NONE = '–';
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const LINES = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** @param {string} found */
const escaped = (found) => {
  const code = found.charCodeAt(0);
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
};

/** The text with each control character and mark of direction as its escape: they can make a text look like another.
 * @param {unknown} value */
export const printable = (value) => String(value).replace(CONTROL, escaped);

/** The same for a text of several lines. @param {unknown} value */
export const printableLines = (value) => String(value).replace(LINES, escaped);

/** @param {unknown} value @returns {value is number} */
export const isFigure = (value) => typeof value === 'number' && Number.isFinite(value);

/** Three digits at most, without trailing zeros after the point: `7.5`, `12`, `0.03`. @param {number} value */
function digits(value) {
  const size = Math.abs(value);
  if (size >= 99.5 || size === 0) return value.toFixed(0);
  if (size >= 9.95) return value.toFixed(1).replace(/\.0$/, '');
  return value.toFixed(size < 0.095 ? 3 : size < 0.995 ? 2 : 1).replace(/\.?0+$/, '');
}

/** A number of things: `812`, `1.2 k`, `34 k`, `2.1 M`. @param {unknown} value */
export function count(value) {
  if (!isFigure(value)) return NONE;
  for (const [size, name] of /** @type {[number, string][]} */ ([[1e9, ' G'], [1e6, ' M'], [1e3, ' k']])) {
    if (Math.abs(value) >= size * 0.9995) return digits(value / size) + name;
  }
  return Number.isInteger(value) ? String(value) : digits(value);
}

/** A number of things in full: `34,112`. @param {unknown} value */
export const whole = (value) => (isFigure(value) ? Math.round(value).toLocaleString('en-GB') : NONE);

/** A short time: `350 µs`, `35 ms`, `1.2 s`, `3m05s`. @param {unknown} value in seconds */
export function seconds(value) {
  if (!isFigure(value)) return NONE;
  if (value === 0) return '0';
  if (value < 0.0009995) return `${digits(value * 1e6)} µs`;
  if (value < 0.9995) return `${digits(value * 1e3)} ms`;
  return value < 99.5 ? `${digits(value)} s` : duration(value);
}

/** For a column of milliseconds, with the points of all rows in one line. @param {unknown} value in seconds */
export function milliseconds(value) {
  if (!isFigure(value)) return NONE;
  const ms = value * 1e3;
  if (ms < 0.995) return ms.toFixed(2);
  return ms < 99.95 ? `${ms.toFixed(1)}\u2007` : `${whole(ms)}\u2008\u2007\u2007`;
}

/** A long time in its two largest units: `42s`, `3m05s`, `2h03m`, `5d07h`. @param {unknown} value in seconds */
export function duration(value) {
  if (!isFigure(value)) return NONE;
  const all = Math.max(0, Math.floor(value));
  for (const [size, name, part, unit] of /** @type {[number, string, number, string][]} */ ([
    [86400, 'd', 3600, 'h'], [3600, 'h', 60, 'm'], [60, 'm', 1, 's']])) {
    if (all >= size) return `${Math.floor(all / size)}${name}${String(Math.floor((all % size) / part)).padStart(2, '0')}${unit}`;
  }
  return `${all}s`;
}

/** A size: `812 B`, `64 KB`, `1.2 GB`. @param {unknown} value in bytes */
export function bytes(value) {
  if (!isFigure(value)) return NONE;
  for (const [size, name] of /** @type {[number, string][]} */ ([[1e9, 'GB'], [1e6, 'MB'], [1e3, 'KB']])) {
    if (value >= size * 0.9995) return `${digits(value / size)} ${name}`;
  }
  return `${Math.round(value)} B`;
}

/** A share: `0.4 %`, `12 %`. @param {unknown} value of 1 */
export const percent = (value) => (isFigure(value) ? `${digits(value * 100)} %` : NONE);

/** The same for a column whose header has the unit. @param {unknown} value of 1 */
export const share = (value) => (isFigure(value) ? (value * 100).toFixed(1) : NONE);

/** @param {number} value @param {number} [width] */
const two = (value, width = 2) => String(value).padStart(width, '0');

/** A time of the day: `14:03:27`. @param {unknown} ms since 1970 */
export function clock(ms) {
  if (!isFigure(ms)) return NONE;
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** A day and time: `2026-11-28 14:03:27`; today without the day. @param {unknown} ms since 1970 @param {number} [now] */
export function when(ms, now = Date.now()) {
  if (!isFigure(ms)) return NONE;
  const at = new Date(ms);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return at.toDateString() === new Date(now).toDateString() ? clock(ms) : `${day} ${clock(ms)}`;
}

/** A time of the day with milliseconds, for log lines. @param {unknown} ms since 1970 */
export const fineClock = (ms) => (isFigure(ms) ? `${clock(ms)}.${two(Math.floor(ms % 1000), 3)}` : NONE);

/** A long id with its middle left out: `aaaaa…zzzzz`. @param {string} text @param {number} most */
export function middle(text, most = 40) {
  const letters = [...text];
  if (letters.length <= most) return text;
  const kept = most - 1;
  return `${letters.slice(0, Math.ceil(kept / 2)).join('')}…${letters.slice(-Math.floor(kept / 2)).join('')}`;
}

/** `1 silo`, `3 silos`. @param {number} number @param {string} one @param {string} [many] */
export const plural = (number, one, many = `${one}s`) => `${whole(number)} ${number === 1 ? one : many}`;

/** `a`, `a and b`, `a, b and c`. @param {string[]} parts */
export const listed = (parts) => (parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts[parts.length - 1]}`);
