// @ts-check
/** Shows the Markdown of the runbooks: headings, paragraphs, lists, tables, code, links among them. Text stays text. */

import { h } from './dom.js';

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\(([^)]+)\)/g;

/** The parts of a line. @param {string} text @returns {any[]} */
export function inline(text) {
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const [all, code, bold, light, label, target] = found;
    parts.push(text.slice(end, found.index), code !== undefined ? h('code', null, code) : bold !== undefined ? h('b', null, bold) : light !== undefined ? h('em', null, light) : anchor(label, target));
    end = (found.index ?? 0) + all.length;
  }
  return [...parts, text.slice(end)];
}

/** @param {string} label @param {string} target */
function anchor(label, target) {
  const page = /^([a-z_]+)\.md(?:#.*)?$/.exec(target);
  return page ? h('a', { href: `/runbooks/${page[1]}` }, inline(label)) : h('span', null, inline(label));
}

/** Blocks as kind and lines. @param {string} text @returns {{kind: string, lines: string[]}[]} */
export function blocks(text) {
  /** @type {{kind: string, lines: string[]}[]} */
  const found = [];
  /** @type {{kind: string, lines: string[]} | null} */
  let open = null;
  for (const line of text.split('\n')) {
    if (open?.kind === 'code') {
      if (line.startsWith('```')) open = null;
      else open.lines.push(line);
      continue;
    }
    const kind = line.startsWith('```') ? 'code' : /^#+ /.test(line) ? 'heading' : /^(- |\d+\. )/.test(line) ? 'list' : line.startsWith('|') ? 'table' : 'text';
    if (!line.trim()) open = open?.kind === 'list' ? open : null;
    else if (kind === 'code' || kind === 'heading') {
      found.push({ kind, lines: kind === 'code' ? [] : [line.replace(/^#+ /, '')] });
      open = kind === 'code' ? found[found.length - 1] : null;
    } else if (open && kind === 'text' && (open.kind === 'text' || line.startsWith(' '))) open.lines[open.lines.length - 1] += ` ${line.trim()}`;
    else if (open && open.kind === kind) open.lines.push(line);
    else found.push((open = { kind, lines: [line] }));
  }
  return found;
}

/** @param {string} text */
export const markdown = (text) => h('div', { class: 'prose' }, blocks(text).map(({ kind, lines }) => {
  if (kind === 'heading') return h('h2', null, inline(lines[0]));
  if (kind === 'code') return h('pre', null, lines.join('\n'));
  if (kind === 'list') return h(/^\d/.test(lines[0]) ? 'ol' : 'ul', null, lines.map((line) => h('li', null, inline(line.replace(/^(- |\d+\. )/, '')))));
  if (kind === 'table') return table(lines);
  return h('p', null, inline(lines[0]));
}));

/** @param {string[]} lines */
function table(lines) {
  const [head, , ...rows] = lines.map((line) => line.slice(1, -1).split('|').map((cell) => cell.trim()));
  return h('div', { class: 'scroll' }, h('table', null, h('thead', null, h('tr', null, head.map((cell) => h('th', { scope: 'col' }, inline(cell))))), h('tbody', null, rows.map((row) => h('tr', null, row.map((cell) => h('td', null, inline(cell))))))));
}
