import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { blocks } from '../../../grange/dashboard/static/markdown.js';

const RUNBOOKS = new URL('../../../docs/runbooks/', import.meta.url);

test('blocks are told apart, and a line that goes on belongs to its block', () => {
  assert.deepEqual(blocks('# `a`\n\nOne\ntwo\n\n- first\n  goes on\n- second\n\n```sh\n- no list\n```\n| a |\n|---|\n| b |\n'), [
    { kind: 'heading', lines: ['`a`'] },
    { kind: 'text', lines: ['One two'] },
    { kind: 'list', lines: ['- first goes on', '- second'] },
    { kind: 'code', lines: ['- no list'] },
    { kind: 'table', lines: ['| a |', '|---|', '| b |'] },
  ]);
});

test('every runbook has its headings', () => {
  for (const name of readdirSync(RUNBOOKS)) {
    if (name === 'README.md') continue;
    const headings = blocks(readFileSync(new URL(name, RUNBOOKS), 'utf8')).filter((each) => each.kind === 'heading').map((each) => each.lines[0]);
    assert.deepEqual(headings.slice(1), ['What you see', 'What it means', 'What to check', 'What to do', 'How it is tested'], name);
  }
});
