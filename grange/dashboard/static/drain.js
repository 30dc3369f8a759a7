// @ts-check
/** A drain under way: its phases, and what is left. */

import { h } from './dom.js';
import { duration, plural } from './format.js';

const PHASES = ['leaving', 'moving', 'cancelling', 'handing over', 'dismissing', 'stopped'];

/** @param {any} drain @param {any} [silo] its link, where the page shows several */
export const progress = (drain, silo = null) => h('li', null, silo, h('ol', { class: 'phases' }, PHASES.map((phase) => h('li', { 'aria-current': phase === drain.phase ? 'step' : null, class: PHASES.indexOf(phase) < PHASES.indexOf(drain.phase) ? 'over' : null }, phase))),
  h('span', { class: 'quiet' }, `${plural(drain.activations, 'activation')} and ${plural(drain.requests, 'request')} left, ${duration(drain.seconds)}`));
