// @ts-check
/** The shell: the rail, the strip of facts above every page, and which page an address shows. */

import { get, post } from './api.js';
import { h, put, say, set } from './dom.js';
import { count, duration, plural } from './format.js';
import { help, listen } from './keys.js';
import { Live } from './live.js';
import { palette } from './palette.js';
import { failed, loading, state } from './resource.js';
import { go, parts } from './url.js';

/** @typedef {{me: any, params: string[], signal: AbortSignal, live: Live, can: (action: string) => boolean}} Context */
/** @typedef {{title: string, element: any, hello?: (hello: any) => void, tick?: (tick: any) => void, event?: (event: any) => void}} Page */

/** Path, module of the page, stream of its view. The rail shows those with a label. @type {[string, string, (params: string[]) => string, string?][]} */
const ROUTES = [
  ['', 'overview', () => 'overview', 'Overview'],
  ['silos', 'silos', () => 'silos', 'Silos'],
  ['silos/*', 'silo', ([name]) => `silo/${name}`],
  ['membership', 'membership', () => 'membership', 'Membership'],
  ['grains', 'grains', () => 'types', 'Grains'],
  ['grains/*', 'type', ([name]) => `type/${name}`],
  ['stored/*', 'stored', () => 'quiet'],
  ['activations', 'activations', () => 'quiet', 'Activations'],
  ['g/*', 'activation', () => 'quiet'],
  ['g/*/*', 'activation', () => 'quiet'],
  ['reminders', 'reminders', () => 'quiet', 'Reminders'],
  ['logs', 'logs', () => 'quiet', 'Logs'],
  ['traces', 'traces', () => 'quiet', 'Traces'],
  ['traces/*', 'trace', () => 'quiet'],
  ['health', 'health', () => 'quiet', 'Health'],
  ['runbooks/*', 'runbook', () => 'quiet'],
  ['actions', 'actions', () => 'quiet', 'Actions'],
];

/** @param {string[]} path */
function route(path) {
  for (const [pattern, module, view, label] of ROUTES) {
    const wanted = pattern ? pattern.split('/') : [];
    if (wanted.length !== path.length || !wanted.every((part, i) => part === '*' || part === path[i])) continue;
    return { module, view: view(path.filter((_, i) => wanted[i] === '*')), params: path.filter((_, i) => wanted[i] === '*'), label };
  }
  return null;
}

class Shell {
  /** @param {any} me */
  constructor(me) {
    this.me = me;
    /** @type {string[]} */
    this.silos = [];
    /** @type {AbortController | null} */
    this.stop = null;
    this.alarms = 0;
    this.main = h('main', { id: 'main' });
    this.strip = h('dl', { class: 'strip-facts' });
    this.told = h('div', { class: 'unseen', role: 'status', 'aria-live': 'polite' });
    this.pulse = h('span', { class: 'pulse' });
    this.links = ROUTES.filter(([, , , label]) => label).map(([path, , , label]) => h('a', { href: `/${path}` }, label));
    put(document.body, h('a', { class: 'skip', href: '#main', 'data-plain': true, onclick: () => this.main.querySelector('h1')?.focus() }, 'Skip to the content'), this.top(),
      h('nav', { class: 'rail', 'aria-label': 'Pages' }, h('div', null, this.links)), this.main, this.told);
    document.addEventListener('click', (event) => this.follow(event));
    addEventListener('popstate', () => this.show());
    listen({ palette: () => this.palette() });
    this.show();
  }

  top() {
    const out = this.me.user ? h('button', { type: 'button', class: 'small', onclick: () => post('/api/logout', {}).finally(() => location.assign('/')) }, 'Log out') : null;
    return h('header', { class: 'top' }, h('a', { class: 'name', href: '/' }, h('b', null, 'grange'), ' ', h('span', null, this.me.cluster ?? '')), this.strip, this.pulse,
      h('div', { class: 'mine' }, h('span', { class: 'who' }, this.me.user ? `${this.me.user}, ` : '', this.me.role ?? ''),
      h('button', { type: 'button', class: 'small', onclick: () => this.palette(), 'aria-keyshortcuts': 'Control+K' }, 'Go to', h('kbd', null, 'Ctrl K')),
      h('button', { type: 'button', class: 'small', onclick: theme }, 'Theme'), h('button', { type: 'button', class: 'small', 'aria-label': 'Keyboard shortcuts', onclick: help }, '?'), out));
  }

  palette() {
    const pages = this.links.map((each) => ({ kind: 'page', text: each.textContent ?? '', href: each.getAttribute('href') ?? '/' }));
    palette([...pages, { kind: 'switch', text: 'Theme: light or dark', run: theme }, { kind: 'help', text: 'Keyboard shortcuts', run: help }], this.silos);
  }

  /** @param {MouseEvent} event */
  follow(event) {
    const anchor = /** @type {Element} */ (event.target).closest?.('a[href]');
    const href = anchor?.getAttribute('href') ?? '';
    if (!anchor || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || anchor.hasAttribute('data-plain') || !/^[/?]/.test(href) || href.startsWith('/metrics')) return;
    event.preventDefault();
    document.querySelectorAll('dialog[open]').forEach((each) => /** @type {HTMLDialogElement} */ (each).close());
    go(href);
  }

  async show() {
    this.stop?.abort();
    this.live?.close();
    this.stop = new AbortController();
    const { signal } = this.stop;
    const path = parts();
    const found = path && route(path);
    const here = found?.label ? location.pathname : `/${path?.[0] === 'g' || path?.[0] === 'stored' ? 'grains' : path?.[0] ?? ''}`;
    for (const each of this.links) set(each, 'aria-current', each.getAttribute('href') === here ? 'page' : null);
    const waiting = setTimeout(() => put(this.main, loading()), 200);
    try {
      if (!found) {
        this.live = new Live('quiet', {}, () => this.head());
        return this.drawn({ title: 'Not found', element: h('div', { class: 'sheet' }, h('h1', { tabindex: '-1' }, 'Not found'), state('There is no such page.')) });
      }
      const { page } = await import(`./pages/${found.module}.js`);
      if (signal.aborted) return undefined;
      /** @type {Page | undefined} */
      let shown;
      const live = new Live(found.view, { hello: (hello) => { this.silos = hello.silos ?? this.silos; shown?.hello?.(hello); }, tick: (tick) => shown?.tick?.(tick), event: (event) => shown?.event?.(event) }, () => this.head());
      this.live = live;
      shown = /** @type {Page} */ (page({ me: this.me, params: found.params, signal, live, can: (/** @type {string} */ action) => (this.me.actions ?? []).includes(action) }));
      return this.drawn(shown);
    } catch (error) {
      console.error(error);
      return this.drawn({ title: 'Error', element: failed(error, () => this.show()) });
    } finally {
      clearTimeout(waiting);
      this.head();
    }
  }

  /** @param {Page} page */
  drawn(page) {
    document.title = `${page.title} · ${this.me.cluster ?? 'grange'}`;
    const first = !this.main.firstChild;
    put(this.main, page.element);
    scrollTo(0, 0);
    if (!first) this.main.querySelector('h1')?.focus({ preventScroll: true });
  }

  /** The facts of the cluster, and how old they are. */
  head() {
    const { live } = this;
    if (!live) return;
    const age = Math.floor(live.age / 1000);
    const old = live.stale;
    set(this.main, 'class', old && live.view !== 'quiet' ? 'stale' : null);
    set(this.strip, 'class', old ? 'strip-facts stale' : 'strip-facts');
    const words = live.state === 'bye' ? `the dashboard stopped ${duration(age)} ago` : live.state === 'connecting' && !live.head ? 'connecting' : `no answer since ${duration(age)}`;
    set(this.pulse, 'class', old || live.state === 'connecting' ? 'pulse old' : 'pulse');
    say(this.pulse, old || live.state === 'connecting' ? `○ ${words}` : '● live');
    if (live.head) this.facts(live.head);
  }

  /** @param {any} head */
  facts(head) {
    const silos = head.silos ?? {};
    const states = ['active', 'joining', 'leaving', 'dead', 'silent'].filter((each) => silos[each] || each === 'active').map((each) => `${silos[each] ?? 0} ${each}`).join(', ');
    const pair = (/** @type {string} */ name, /** @type {string} */ href) => h('div', null, h('dt', null, name), h('dd', null, h('a', { href })));
    const told = [[states, silos.silent ? 'moving' : null], [head.table ?? '–', head.table === 'ok' ? null : 'act'], [count(head.alarms), head.alarms ? 'act' : null], [count(head.activations), null], [count(head.waiting), null], [count(head.in_flight), null]];
    if (!this.strip.firstChild) put(this.strip, pair('silos', '/silos'), pair('table', '/membership'), pair('alarms', '/health'), pair('activations', '/activations'), pair('waiting', '/activations?min_waiting=1&sort=waiting'), pair('in flight', '/activations?min_turn=1&sort=turn'));
    told.forEach(([text, kind], i) => {
      set(this.strip.children[i], 'class', kind);
      say(this.strip.children[i].querySelector('a'), String(text));
    });
    if (head.alarms !== this.alarms) say(this.told, head.alarms ? `${plural(head.alarms, 'alarm')}` : 'No alarms.');
    this.alarms = head.alarms;
  }
}

/** Switch between light and dark, and remember it. */
function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  localStorage.setItem('grange.theme', root.dataset.theme);
}

/** The token of the printed address is in the fragment: no server sees it there. It is exchanged for a cookie. */
async function begin() {
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (token) {
    history.replaceState(null, '', location.pathname + location.search);
    await post('/api/login', { token: decodeURIComponent(token) }).catch(() => undefined);
  }
  const { login } = await import('./pages/login.js');
  addEventListener('hashchange', () => location.hash.startsWith('#token=') && location.reload());
  addEventListener('grange:login', () => login(), { once: true });
  try {
    new Shell(await get('/api/me'));
  } catch (error) {
    if (/** @type {any} */ (error).status !== 401) put(document.body, h('main', { id: 'main' }, failed(error, () => location.reload())));
  }
}

begin();
