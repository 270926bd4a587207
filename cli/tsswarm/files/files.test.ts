import assert from 'node:assert/strict';
import type { SecretId } from '../../../base/ids.ts';
import type { Secret } from '../../../proto/types/index.ts';
import { T0 } from '../../../test/builders/objects.ts';
import { pickFile, renderFiles } from './commands.ts';

const secret = (id: string, name: string, labels: Record<string, string> = {}): Secret => ({
  id: id as SecretId,
  meta: { version: 1, createdAt: T0, updatedAt: T0 },
  projectId: '',
  spec: { name, composeName: name, labels, data: new Uint8Array() },
});
const KEY = secret('abc1', 'key', { a: 'b' });
const PASSWORD = secret('abd2', 'password');

describe('secrets and configs', () => {
  it('are found by id, name, or the beginning of an id, or not, in Docker\u2019s words', () => {
    for (const name of ['abc1', 'key', 'abc']) assert.equal(pickFile('secret', [KEY, PASSWORD], name), KEY);
    assert.throws(() => pickFile('secret', [KEY], 'nix'), /no such secret: nix/);
    assert.throws(() => pickFile('config', [KEY], ''), /no such config: /);
    assert.throws(() => pickFile('secret', [KEY, PASSWORD], 'ab'), /secret ab is ambiguous \(2 matches found\)/);
  });

  it('are listed by name, filtered, and in a format of one\u2019s own', () => {
    const show = (options: Parameters<typeof renderFiles>[3]): string =>
      renderFiles([PASSWORD, KEY], [], T0 + 60_000, options);
    assert.match(
      show({}),
      /^ID +NAME +STACK +CREATED +UPDATED\nabc1 +key +About a minute ago +About a minute ago\nabd2/,
    );
    assert.equal(show({ quiet: true }), 'abc1\nabd2\n');
    assert.equal(show({ format: '{{.Name}} {{.Labels}}', filter: ['label=a'] }), 'key a=b\n');
    assert.equal(show({ quiet: true, filter: ['name=pass'] }), 'abd2\n');
    assert.throws(() => show({ filter: ['x=y'] }), /the key "x" is not known/);
  });
});
