// @ts-check
/** One answer of the server on a page, with all its states: loading, shown, old, failed, refused, absent. */

import { ApiError } from './api.js';
import { h, put, say } from './dom.js';
import { duration, listed, plural } from './format.js';

/** A sentence in place of what is not there. @param {string} text @param {any} [more] @param {string} [kind] */
export const state = (text, more = null, kind = 'empty') => h('div', { class: `state ${kind}` }, h('p', null, text), more);

export const loading = () => h('div', { class: 'state loading' }, h('p', null, 'Loading …'));

/** A line of what a list leaves out: silos that gave no answer, or did not look at all. @param {{cut?: string[], silent?: string[], off?: string[]}} answer @param {number} [silos] @param {string[]} [off] what those that are `off` lack, and the remedy */
export function gaps(answer, silos = 0, off = ['', '']) {
  const of = silos ? ` of ${silos}` : '';
  const lines = [];
  if (answer.cut?.length) lines.push(`${answer.cut.length}${of} ${answer.cut.length === 1 && !of ? 'silo was' : 'silos were'} cut off at the search budget: ${listed(answer.cut)}.`);
  if (answer.silent?.length) lines.push(`No answer from ${plural(answer.silent.length, 'silo')}${of}: ${listed(answer.silent)}.`);
  if (answer.off?.length) lines.push(`${off[0]} ${listed(answer.off)}: ${off[1]}.`);
  return lines.length ? h('p', { class: 'notice cut' }, lines.join(' ')) : null;
}

/** What an error means to the reader. @param {unknown} error @param {(() => void) | null} [again] */
export function failed(error, again = null) {
  const status = error instanceof ApiError ? error.status : -1;
  const text = error instanceof Error ? error.message : String(error);
  const retry = again && h('button', { type: 'button', onclick: again }, 'Try again');
  if (status === 403) return state('You may not see this.', h('p', { class: 'quiet' }, text), 'refused');
  if (status === 404) return state(`This is not there: ${text}.`);
  if (status === 400) return state(error instanceof ApiError && error.field ? `The filter “${error.field}” is not valid.` : 'The question is not valid.', h('p', { class: 'quiet' }, text), 'failed');
  if (status === 0) return state('No answer.', h('p', { class: 'quiet' }, text, ' ', retry), 'failed');
  return state('This could not be shown.', h('p', { class: 'quiet' }, text, ' ', retry), 'failed');
}

/** @typedef {import('./main.js').Context} Context */

/** Ask now and each `every` seconds, while the tab is visible; show the answer, or what prevents it.
 * @param {Context} ctx @param {{get: (signal: AbortSignal) => Promise<any>, show: (answer: any, body: any) => void, every?: number, label?: string}} options
 * `show` draws into `body`; it is empty at the first answer and after an error. */
export function resource(ctx, { get, show, every = 5, label = '' }) {
  const notice = h('p', { class: 'notice old', hidden: true });
  const body = h('div', { class: 'body' }, loading());
  const element = h('div', { class: 'resource', 'aria-busy': 'true', 'aria-label': label || null }, notice, body);
  /** @type {any} */
  let timer;
  let run = 0;
  let answered = 0;
  let drawn = false;

  async function ask() {
    clearTimeout(timer);
    run += 1;
    const mine = run;
    try {
      if (!document.hidden || !drawn) draw(await get(ctx.signal), mine);
    } catch (error) {
      if (ctx.signal.aborted || mine !== run) return;
      refuse(error);
    }
    if (!ctx.signal.aborted && mine === run && every) timer = setTimeout(ask, every * 1000);
  }

  /** @param {any} answer @param {number} mine */
  function draw(answer, mine) {
    if (ctx.signal.aborted || mine !== run) return;
    if (!drawn) put(body);
    drawn = true;
    answered = performance.now();
    element.removeAttribute('aria-busy');
    element.classList.remove('stale');
    notice.hidden = true;
    show(answer, body);
  }

  /** @param {unknown} error */
  function refuse(error) {
    element.removeAttribute('aria-busy');
    const passing = error instanceof ApiError && (error.status === 0 || error.status >= 500 || error.status === 429);
    if (drawn && passing) {
      element.classList.add('stale');
      notice.hidden = false;
      say(notice, `No answer since ${duration((performance.now() - answered) / 1000)}: ${error.message}.`);
      return;
    }
    if (!(error instanceof ApiError)) console.error(error);
    drawn = false;
    put(body, failed(error, () => { put(body, loading()); ask(); }));
  }

  ctx.signal.addEventListener('abort', () => clearTimeout(timer));
  ask();
  return { element, again: ask, body };
}
