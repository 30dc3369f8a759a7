// @ts-check
/** One activation: where it is and why, what it does, what waits for it, its state, and what may be done. */

import { actSection, open, pretty } from '../act.js';
import { address, get } from '../api.js';
import { h, put } from '../dom.js';
import { bytes, duration, listed, seconds, whole } from '../format.js';
import { form } from '../form.js';
import { LiveFacts, copyable, facts, id, link, section, sheet, siloLink, status, typeLink } from '../parts.js';
import { gaps, resource, state } from '../resource.js';
import { table } from '../table.js';
import { asked } from '../url.js';

/** @param {string} name @param {string} caption @param {import('../table.js').Column[]} columns @param {string} none */
const plain = (name, caption, columns, none) => {
  let n = 0;
  return table({ name, caption, columns, plain: true, key: (row) => (row.at ??= `${(n += 1)}`), empty: state(none) });
};

const method = { id: 'method', label: 'method', head: true, class: 'id', text: (/** @type {any} */ row) => row.method };
const trace = { id: 'trace', label: 'trace', text: (/** @type {any} */ row) => row.trace ?? '', node: (/** @type {any} */ row) => (row.trace ? h('a', { href: `/traces/${encodeURIComponent(row.trace)}`, class: 'id' }, row.trace.slice(0, 8)) : null) };
const left = (/** @type {any} */ row) => (row.left < 0 ? 'no limit' : seconds(row.left));

const mover = () => form({ properties: { to: { type: 'string', maxLength: 300, description: 'a silo, by its name or address; empty: where the placement chooses' } } });

/** @param {import('../main.js').Context} ctx */
export function page(ctx) {
  const type = ctx.params[0];
  const key = ctx.params[1] ?? (asked('key') === ' ' ? '' : asked('key'));
  const where = new LiveFacts();
  const cut = h('div');
  const running = h('div');
  const waiting = plain('waiting', 'Waiting requests', [method, { id: 'caller', label: 'caller', class: 'id', text: (row) => row.caller }, { id: 'identity', label: 'identity', class: 'id', text: (row) => row.identity || 'none' }, { id: 'seconds', label: 'waits', figure: true, text: (row) => seconds(row.seconds) }, { id: 'left', label: 'deadline in', figure: true, text: left }, trace], 'No request waits.');
  const calls = plain('calls', 'Last calls', [method, { id: 'ago', label: 'ago', figure: true, text: (row) => duration(row.ago) }, { id: 'wait', label: 'wait', figure: true, text: (row) => seconds(row.wait) }, { id: 'seconds', label: 'turn', figure: true, text: (row) => seconds(row.seconds) }, { id: 'error', label: 'outcome', class: 'wide', text: (row) => row.error || 'ok', node: (row) => (row.error ? h('span', { class: 'error' }, row.error) : null) }], 'No call ended since this page is open.');
  const timers = plain('timers', 'Timers', [{ id: 'name', label: 'timer', head: true, class: 'id', text: (row) => row.name }, { id: 'period', label: 'period', figure: true, text: (row) => (row.period < 0 ? 'once' : seconds(row.period)) }, { id: 'due', label: 'due in', figure: true, text: (row) => seconds(row.due) }], 'It has no timers.');
  const states = h('div', { class: 'states' }, state('It has no persistent state.'));
  const acts = h('div');
  let known = '';
  const found = resource(ctx, {
    every: 1,
    get: (signal) => get('/api/activation', { type, key }, signal),
    show: (answer, body) => {
      const row = answer.row ?? answer;
      if (!body.firstChild) {
        put(body, cut, where.element, section('Running turn', running), section('Waiting requests', waiting.element), section('Last calls and errors', calls.element), h('div', { class: 'halves' }, section('Timers', timers.element), section('State', states)), acts);
        put(acts, actSection(ctx, [{ action: 'deactivate', target: `${type}/${key}`, verb: 'Deactivate', title: `Deactivate ${type}/${key}` }, { action: 'move', target: `${type}/${key}`, verb: 'Move', title: `Move ${type}/${key}`, form: mover() }]));
        if (ctx.can('call')) callable(ctx, acts.querySelector('.acts'), type, key);
      }
      put(cut, gaps(answer));
      where.update(summary(answer, row));
      turns(running, answer.running ?? []);
      waiting.update(answer.waiting ?? []);
      calls.update(answer.calls ?? []);
      timers.update(answer.timers ?? []);
      const names = (answer.states ?? []).join('\n');
      if (names !== known) put(states, (answer.states ?? []).map((/** @type {string} */ name) => stored(ctx, type, key, name)));
      known = names;
    },
  });
  const element = sheet({ title: copyable(key, 80), over: [link('/grains', 'Grains'), typeLink(type)], tools: [link(address('/logs', { type, contains: key }), 'Logs'), link('/traces', 'Traces')] }, found.element);
  return { title: `${type}/${key}`, element };
}

/** @param {any} answer @param {any} row */
function summary(answer, row) {
  const registered = answer.directory ?? answer.registered;
  const agrees = !registered || registered.startsWith(answer.address);
  return /** @type {[string, any][]} */ ([
    ['silo', siloLink(answer.silo ?? row.silo ?? answer.address)], ['phase', status(row.phase, row.phase === 'active' ? 'active' : 'joining')], ['ends because', answer.ending || null], ['in memory', duration(row.age)], ['idle', duration(row.idle)],
    ['placed by', answer.placement || null], ['claimed in table version', whole(answer.view)],
    ['directory', registered ? h('span', { class: agrees ? null : 'error' }, agrees ? 'agrees' : 'names another: ', agrees ? null : id(answer.directory_silo || registered)) : h('span', { class: 'error' }, 'has no entry')],
    ['also active on', answer.others?.length ? h('span', { class: 'error' }, listed(answer.others)) : null],
    ['waiting', whole(row.waiting)], ['running', whole(row.running)], ['activation', copyable(answer.activation_id ?? '', 24)],
  ]);
}

/** The turns that run: the longest with its stack, the others to be opened. @param {any} box @param {any[]} running */
function turns(box, running) {
  if (box.querySelector('details[open]')) return; // it is being read
  const [first, ...rest] = [...running].sort((a, b) => b.seconds - a.seconds);
  put(box, first ? turn(first) : state('No turn runs now.'), rest.map((each) => h('details', null, h('summary', null, h('code', null, each.method), ` ${seconds(each.seconds)}`), turn(each))));
}

/** @param {any} request */
const turn = (request) => h('div', { class: 'turn' },
  facts([['method', h('code', null, request.method)], ['runs since', seconds(request.seconds)], ['caller', request.caller], ['identity', request.identity || null], ['waits for', request.awaits?.length ? h('span', { class: 'id' }, request.awaits.join(', ')) : null], ['deadline in', left(request)], ['trace', request.trace ? h('a', { href: `/traces/${encodeURIComponent(request.trace)}`, class: 'id' }, request.trace.slice(0, 16)) : null]]),
  request.stack?.length ? h('pre', { class: 'stack', tabindex: '0', 'aria-label': 'Stack, innermost last' }, request.stack.join('\n').replace(/^ {2}/gm, '')) : null);

/** A stored state. Nothing is read from the store before it is asked for. @param {import('../main.js').Context} ctx @param {string} type @param {string} key @param {string} name */
export function stored(ctx, type, key, name) {
  const box = h('div');
  const details = h('details', { ontoggle: () => {
    if (!details.open || box.firstChild) return;
    put(box, resource(ctx, { every: 0, get: (signal) => get('/api/state', { type, key, name }, signal), show: (answer, body) => {
      const row = Array.isArray(answer) ? answer[0] : answer;
      put(body, facts([['provider', row.provider], ['etag', row.etag], ['size', bytes(row.size)], ['in memory', row.loaded ? 'yes' : 'no']]), h('pre', { class: 'json', tabindex: '0', 'aria-label': `State ${name}` }, pretty(row.json)), row.cut ? h('p', { class: 'notice cut' }, 'Cut off at 64 KB.') : null);
    } }).element);
  } }, h('summary', null, h('bdi', { class: 'id' }, name)), box);
  return details;
}

/** Calls of methods, by the schema of each. @param {import('../main.js').Context} ctx @param {any} box @param {string} type @param {string} key */
async function callable(ctx, box, type, key) {
  try {
    const { methods } = await get(`/api/types/${encodeURIComponent(type)}`, {}, ctx.signal);
    if (!methods?.length) return;
    const pick = h('select', { 'aria-label': 'Method' }, methods.map((/** @type {any} */ each) => h('option', { value: each.name }, each.name)));
    box.append(h('span', { class: 'callit' }, pick, h('button', { type: 'button', onclick: () => {
      const chosen = methods[pick.selectedIndex];
      const schema = typeof chosen.parameters === 'string' ? JSON.parse(chosen.parameters || '{}') : chosen.parameters ?? {};
      const fields = form(schema);
      open({ action: 'call', target: `${type}/${key}`, verb: 'Call', title: `Call ${chosen.name} of ${type}/${key}`, form: { element: fields.element, read: () => ({ method: chosen.name, arguments: fields.read() }) } });
    } }, 'Call …')));
  } catch (error) {
    if (!ctx.signal.aborted) box.append(h('span', { class: 'quiet' }, `Its methods cannot be listed: ${/** @type {Error} */ (error).message}.`));
  }
}
