import assert from 'node:assert/strict';
import type { ProjectChange, Revision, ServiceSpec } from '../../../proto/types/index.ts';
import { containerSpec } from '../../../test/builders/container-spec.ts';
import { T0 } from '../../../test/builders/objects.ts';
import { project, serviceSpec, taskSpec } from '../../../test/builders/specs.ts';
import { plainStyle } from '../../render/style.ts';
import { renderHistory } from '../commands/history.ts';
import { changeLines, changeSummary } from './changes.ts';

const web = (change: Parameters<typeof containerSpec>[0], spec: Partial<ServiceSpec> = {}): ServiceSpec =>
  serviceSpec('web', { task: taskSpec({ container: containerSpec(change) }), ...spec });
const replaced = (...fields: readonly string[]): ProjectChange => ({
  kind: 'service',
  name: 'web',
  action: 'replace',
  fields,
});
const by = (spec: ServiceSpec) => new Map([['web', spec]]);
const BEFORE = web({
  image: 'nginx:1',
  env: ['A=1', 'B=2'],
  labels: { 'com.docker.compose.config-hash': 'x', own: '1' },
});
const AFTER = web(
  { image: 'nginx:2', env: ['B=2', 'C=3'], labels: { 'com.docker.compose.config-hash': 'y', own: '1' } },
  { replicas: 3 },
);
const ALL = replaced('replicas', 'task.container.image', 'task.container.env');

describe('what a change of a project did', () => {
  it('in a line: numbers and images from what to what, other fields by name', () => {
    const changes: readonly ProjectChange[] = [
      { kind: 'network', name: 'shop_default', action: 'none', fields: [] },
      { kind: 'config', name: 'shop_conf', action: 'update', fields: ['data'] },
      ALL,
      { kind: 'service', name: 'api', action: 'create', fields: [] },
      { kind: 'service', name: 'old', action: 'remove', fields: [] },
    ];
    assert.equal(
      changeSummary(changes, by(BEFORE), by(AFTER)),
      'config shop_conf: contents; web: replicas 1 → 3, image nginx:1 → nginx:2, environment; +api; -old',
    );
  });

  it('a change of no field was a start', () => {
    assert.equal(changeSummary([{ ...ALL, fields: [] }], by(BEFORE), by(BEFORE)), 'web: started again');
  });

  it('line by line: entries that went and came', () => {
    assert.deepEqual(changeLines([ALL], by(BEFORE), by(AFTER), plainStyle), [
      '~ service web (its containers are replaced)',
      '    replicas: 1 → 3',
      '    image: nginx:1 → nginx:2',
      '    environment:',
      '      - A=1',
      '      + C=3',
    ]);
  });

  it('leaves labels out that follow from the file', () => {
    const after = web({ labels: { 'com.docker.compose.config-hash': 'y', own: '2' } });
    assert.deepEqual(changeLines([replaced('task.container.labels')], by(BEFORE), by(after), plainStyle).slice(1), [
      '    container labels:',
      '      - own=1',
      '      + own=2',
    ]);
  });

  it('shows ports, mounts and dependencies as people write them', () => {
    const port = { target: 80, published: 8080, protocol: 'tcp', mode: 'ingress', hostIp: '' } as const;
    const mount = { type: 'tmpfs', target: '/t', readOnly: true, sizeBytes: 0, mode: 0o1777 } as const;
    const after = web(
      { mounts: [mount], image: 'nginx:1' },
      { ports: [port], dependsOn: [{ service: 'db', condition: 'healthy', required: true, restart: false }] },
    );
    const fields = ['ports', 'task.container.mounts', 'dependsOn'];
    assert.deepEqual(changeLines([replaced(...fields)], by(web({})), by(after), plainStyle).slice(1), [
      '    ports:',
      '      + 8080:80/tcp',
      '    volumes:',
      '      + tmpfs:/t:ro',
      '    depends_on:',
      '      + db (healthy)',
    ]);
  });

  it('says what stays although the file does not have it', () => {
    const orphan: ProjectChange = { kind: 'service', name: 'old', action: 'orphan', fields: [] };
    assert.match(
      changeLines([orphan], new Map(), new Map(), plainStyle)[0] ?? '',
      /^! service old: not in the file, it stays/,
    );
  });
});

describe('the history', () => {
  const revision = (number: number, spec: ServiceSpec, change: ProjectChange): Revision => ({
    id: `r${number}` as Revision['id'],
    meta: { version: 1, createdAt: T0, updatedAt: T0 },
    projectId: 'p' as Revision['projectId'],
    serviceId: '',
    number,
    desired: project([spec]),
    withoutContents: false,
    changes: [change],
    author: { user: 'ann', command: 'tscompose up' },
  });
  const revisions = [revision(2, AFTER, ALL), revision(1, BEFORE, { ...ALL, action: 'create', fields: [] })];
  it('tells when, who, how and what', () => {
    const text = renderHistory({ revisions }, T0 + 120_000, { trunc: false });
    assert.match(
      text,
      /^REVISION +CREATED +BY +COMMAND +CHANGES\n2 +2 minutes ago +ann +tscompose up +web: replicas 1 → 3/,
    );
    assert.match(text, /\n1 +2 minutes ago +ann +tscompose up +\+web\n$/);
  });
  it('-q and --format', () => {
    assert.equal(renderHistory({ revisions }, T0, { trunc: true, quiet: true }), '2\n1\n');
    assert.equal(
      renderHistory({ revisions }, T0, { trunc: true, format: '{{.Revision}} {{.User}}' }),
      '2 ann\n1 ann\n',
    );
  });
});
