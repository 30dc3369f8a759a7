// @ts-check
/** Asks the server that this page came from. An error says what is known of its outcome. */

const PATIENCE = 10_000;

/** An answer that is not the one asked for. `status` 0: no answer. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message @param {string} [field] */
  constructor(status, message, field = '') {
    super(message);
    this.status = status;
    this.field = field;
  }
}

/** @typedef {Record<string, string | number | boolean | null | undefined>} Query */

/** A path with a query, without the parameters that are empty. @param {string} path @param {Query} [query] */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== '' && value !== null && value !== undefined && value !== false);
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${path}${path.includes('?') ? '&' : '?'}${text}` : path;
}

/** A path of several parts, each escaped. @param {...string} parts */
export const pathOf = (...parts) => `/${parts.map((part) => encodeURIComponent(wellFormed(part))).join('/')}`;

/** The page of an activation. A key that a path cannot carry goes into the query. @param {string} type @param {string} key */
export const grainPage = (type, key) =>
  key === '' || /^\.{1,2}$/.test(key) ? address(pathOf('g', type), { key: key || ' ' }) : pathOf('g', type, key);

/** @param {string} text */
const wellFormed = (text) => text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd');

/** Ask for JSON. @param {string} path @param {Query} [query] @param {AbortSignal} [signal] @returns {Promise<any>} */
export const get = (path, query, signal) => send(address(path, query), { headers: { Accept: 'application/json' } }, signal);

/** Send JSON. @param {string} path @param {unknown} body @param {number} [patience] in ms @returns {Promise<any>} */
export const post = (path, body, patience = PATIENCE) => send(path, {
  method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
}, undefined, patience);

/** @param {string} path @param {RequestInit} options @param {AbortSignal | undefined} signal @param {number} [patience] in ms */
async function send(path, options, signal, patience = PATIENCE) {
  const limit = AbortSignal.timeout(patience);
  let response;
  let text;
  try {
    const both = signal ? AbortSignal.any([signal, limit]) : limit;
    response = await fetch(path, { ...options, signal: both, credentials: 'same-origin', cache: 'no-store' });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, limit.aborted ? `no answer within ${patience / 1000} s` : 'the server cannot be reached');
  }
  const answer = parsed(text);
  if (response.ok) return answer;
  const said = answer?.error;
  if (response.status === 401) dispatchEvent(new Event('grange:login'));
  throw new ApiError(response.status, said?.message ?? `the server answered ${response.status}`, said?.field);
}

/** @param {string} text */
function parsed(text) {
  if (!text) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
