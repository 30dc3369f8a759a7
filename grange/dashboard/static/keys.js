// @ts-check
/** The keyboard: rows, search, pages, the list of shortcuts. Single keys can be switched off. */

import { h } from './dom.js';
import { go } from './url.js';

const PAGES = { o: '/', s: '/silos', m: '/membership', g: '/grains', a: '/activations', l: '/logs', t: '/traces', h: '/health', u: '/actions' };
const LIST = [
  ['Ctrl K', 'go to a page, silo, type or grain'], ['/', 'search or filter on this page'], ['j  k', 'next, previous row'], ['Enter', 'open the row'],
  ['← →', 'move the cursor of the charts, when one has the focus'], ['?', 'this list'], ['Esc', 'close, or leave a field'],
  ['g o', 'Overview'], ['g s', 'Silos'], ['g m', 'Membership'], ['g g', 'Grains'], ['g a', 'Activations'], ['g l', 'Logs'], ['g t', 'Traces'], ['g h', 'Health'], ['g u', 'Actions'],
];
const OFF = 'grange.keys.off';

/** @param {{palette: () => void}} open */
export function listen({ palette }) {
  let before = '';
  addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
      event.preventDefault();
      return palette();
    }
    const target = /** @type {HTMLElement} */ (event.target);
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);
    if (event.key === 'Escape' && typing && !target.closest('dialog')) return target.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || target.closest('dialog') || localStorage.getItem(OFF)) return undefined;
    const first = before;
    before = first === '' && event.key === 'g' ? 'g' : '';
    if (first === 'g') {
      const page = PAGES[/** @type {keyof typeof PAGES} */ (event.key)];
      return page ? go(page) : undefined;
    }
    return single(event);
  });
}

/** @param {KeyboardEvent} event */
function single(event) {
  if (event.key === 'j' || event.key === 'k') move(event.key === 'j' ? 1 : -1);
  else if (event.key === '/') /** @type {HTMLInputElement | null} */ (document.querySelector('main [data-search]'))?.focus();
  else if (event.key === '?') help();
  else return;
  event.preventDefault();
}

/** Put the focus on the link of another row. @param {number} step */
function move(step) {
  const here = document.activeElement?.closest('tr');
  const within = document.activeElement?.closest('table[data-keys]') ?? document.querySelector('main table[data-keys]');
  const rows = [...(within?.querySelectorAll('tbody tr') ?? [])].filter((row) => row.querySelector('a, button'));
  const now = here ? rows.indexOf(here) : -1;
  const next = rows[now < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(now + step, 0), rows.length - 1)];
  /** @type {HTMLElement | null | undefined} */ (next?.querySelector('a, button'))?.focus();
  next?.scrollIntoView({ block: 'nearest' });
}

/** The list of shortcuts. */
export function help() {
  const box = h('input', { type: 'checkbox', checked: !localStorage.getItem(OFF), onchange: () => (box.checked ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, '1')) });
  const dialog = h('dialog', { class: 'help', 'aria-label': 'Keyboard shortcuts', onclose: () => dialog.remove() }, h('h2', null, 'Keyboard'),
    h('dl', { class: 'keys' }, LIST.map(([key, text]) => h('div', null, h('dt', null, key.split(' ').filter(Boolean).map((each) => h('kbd', null, each))), h('dd', null, text)))),
    h('label', { class: 'check' }, box, 'Single keys work (Ctrl K always does)'),
    h('div', { class: 'buttons' }, h('button', { type: 'button', onclick: () => dialog.close() }, 'Close')));
  document.body.append(dialog);
  dialog.showModal();
}
