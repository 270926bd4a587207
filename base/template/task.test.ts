import assert from 'node:assert/strict';
import { EXAMPLE_CONTEXT, containerNameFault, expandContainerName, expandText, templateFault } from './index.ts';
import type { TaskContext } from './index.ts';

const CONTEXT: TaskContext = {
  service: { id: 's1', name: 'shop_web', labels: { tier: 'front', 'a.b/c': 'x' } },
  node: { id: 'n1', hostname: 'alpha', os: 'linux', architecture: 'amd64' },
  task: { id: 't1', name: 'shop-web-2', slot: '2' },
};

describe('names of containers', () => {
  const { service } = EXAMPLE_CONTEXT;
  it('may have the slot in them', () => {
    assert.equal(expandContainerName('{{.Service.Name}}.{{.Task.Slot}}', service, 3), 'service.3');
    assert.equal(expandContainerName('plain', service, 3), 'plain');
  });
  const rows: readonly (readonly [string, number, string | undefined])[] = [
    ['plain', 1, undefined],
    ['plain', 2, 'allows one replica, not 2'],
    ['{{.Service.Name}}', 2, 'allows one replica, not 2'],
    ['web-{{.Task.Slot}}', 9, undefined],
    ['{{.Task.Slot}}', 1, 'makes "1", which is not a name for a container'],
    ['web-{{.Task.ID}}', 1, 'is a template that cannot be expanded: there is no field "ID", expected one of Slot'],
    ['web-{{.Node.ID}}', 1, 'is a template that cannot be expanded: there is no field "Node", expected one of Service, Task'],
  ]; // prettier-ignore
  for (const [text, replicas, expected] of rows)
    it(`${text} for ${replicas}: ${expected ?? 'fine'}`, () =>
      assert.equal(containerNameFault(text, service, replicas), expected));
});

describe('templates of a task', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['plain', 'plain'],
    ['', ''],
    ['$HOME {not} %s', '$HOME {not} %s'],
    ['{{.Node.Hostname}}', 'alpha'],
    ['{{ .Node.ID }}-{{ .Node.Platform.OS }}/{{ .Node.Platform.Architecture }}', 'n1-linux/amd64'],
    ['{{.Service.Name}}.{{.Task.Slot}}.{{.Task.ID}}', 'shop_web.2.t1'],
    ['{{.Service.ID}} {{.Task.Name}}', 's1 shop-web-2'],
    ['{{.Service.Labels.tier}}', 'front'],
    ['{{index .Service.Labels "a.b/c"}}', 'x'],
    ['[{{index .Service.Labels "nothing"}}]', '[]'],
    ['{{join "-" .Service.Name .Task.Slot}}', 'shop_web-2'],
    ['{{.Task.Slot | printf "%03s"}}', '  2'],
    ['{{if eq .Task.Slot "1"}}leader{{else}}follower{{end}}', 'follower'],
    ['{{with .Node}}{{.Hostname}}{{end}}', 'alpha'],
    ['{{range $k, $v := .Service.Labels}}{{$k}}={{$v}};{{end}}', 'a.b/c=x;tier=front;'],
    ['{{slice .Node.Hostname 0 2}}', 'al'],
    ['{{"{{"}}.Name}}', '{{.Name}}'],
    ['a {{- " b " -}} c', 'a b c'],
    ['{{/* nothing */}}x', 'x'],
    ['{{and (ne .Task.Slot "1") (le 1 2)}}', 'true'],
  ];
  for (const [text, expected] of rows) {
    it(`${text === '' ? 'nothing' : text} becomes ${expected}`, () =>
      assert.equal(expandText(text, CONTEXT), expected));
  }

  const faults: readonly (readonly [string, RegExp, number])[] = [
    ['web-{{.Task.Slot', /^"\{\{" has no "\}\}"$/, 4],
    ['a{{.Node.Name}}', /^there is no field "Name", expected one of ID, Hostname, Platform$/, 1],
    ['{{.Task.Slot}} {{.Foo}}', /^there is no field "Foo", expected one of Service, Node, Task$/, 15],
    ['{{ normalize .Name }}', /^the function "normalize" is not known$/, 0],
    ['{{secret "a"}}', /^the function "secret" is not known$/, 0],
    ['x {{.Service.Labels.gone}}', /^there is no "gone"$/, 2],
    ['{{slice .Node.Hostname 0 99}}', /^slice: 0 to 99 is outside of 8 elements$/, 0],
    ['{{if .Node}}x', /^"if" has no end$/, 13],
    ['{{}}', /^there is nothing between/, 0],
    ['{{.Node.Hostname.Short}}', /is asked of what has no fields/, 0],
  ];
  for (const [text, reason, offset] of faults) {
    it(`${text} is refused`, () => {
      const fault = templateFault(text);
      assert.match(fault?.message ?? '', reason);
      assert.equal(fault?.offset, offset);
    });
  }

  it('is not expanded with what is not known yet', () => {
    const { service, task } = CONTEXT;
    const { slot: _, ...unnumbered } = task;
    const early: TaskContext = { service, task: unnumbered };
    assert.match(templateFault('{{.Node.ID}}', early)?.message ?? '', /there is no field "Node"/);
    assert.match(templateFault('{{.Task.Slot}}', early)?.message ?? '', /there is no field "Slot"/);
    assert.equal(expandText('{{.Service.Name}}', early), 'shop_web');
  });

  it('takes functions of the place where it stands', () => {
    const secret = (name: unknown): string => `<${String(name)}>`;
    assert.equal(expandText('{{secret "a"}}', EXAMPLE_CONTEXT, { secret }), '<a>');
  });
});
