import assert from 'node:assert/strict';
import { isTsswarmError } from '../../../base/errors.ts';
import type { ErrorCode } from '../../../base/errors.ts';
import type { NodeId, ServiceId, TaskId } from '../../../base/ids.ts';
import type { Node, PastTask, Service } from '../../../proto/types/index.ts';
import { A_DESCRIPTION } from '../../../test/builders/ca-cluster.ts';
import { containerSpec } from '../../../test/builders/container-spec.ts';
import { T0, service, task } from '../../../test/builders/objects.ts';
import { taskSpec } from '../../../test/builders/specs.ts';
import { findLogged, logSource } from './commands/logs.ts';
import { renderServiceTasks } from './commands/ps.ts';
import { filterServices } from './filters.ts';
import { pickService } from './find.ts';
import { inspectedService } from './inspect.ts';
import { renderServices } from './list.ts';
import { prettyService } from './pretty.ts';

const named = (name: string, id: string, change: Partial<Service> = {}): Service =>
  service(name, { id: id as ServiceId, ...change }, { name });
const WEB = named('web', 'abc111');
const DB = named('db', 'abd222');
const node: Node = {
  id: 'node' as NodeId,
  meta: { version: 1, createdAt: T0, updatedAt: T0 },
  spec: { role: 'worker', availability: 'active', labels: {} },
  description: { ...A_DESCRIPTION, hostname: 'm1' },
  status: { state: 'ready', message: '', address: '' },
};
const refuses = (work: () => unknown, code: ErrorCode, message: string): void =>
  assert.throws(work, (error) => {
    assert.ok(isTsswarmError(error, code));
    assert.equal(error.message, message);
    return true;
  });

describe('finding a service', () => {
  it('by id, name, or the beginning of an id', () => {
    for (const name of ['abc111', 'web', 'abc']) assert.equal(pickService([WEB, DB], name), WEB);
  });
  it('fails in Docker’s words', () => {
    refuses(() => pickService([WEB, DB], 'nix'), 'NOT_FOUND', 'no such service: nix');
    refuses(() => pickService([WEB, DB], ''), 'NOT_FOUND', 'no such service: ');
    refuses(() => pickService([WEB, DB], 'ab'), 'CONFLICT', 'service ab is ambiguous (2 matches found)');
  });
  it('a name comes before the beginning of an id', () => {
    const odd = named('abc', 'zzz');
    assert.equal(pickService([WEB, odd], 'abc'), odd);
  });
});

describe('the list of services', () => {
  const lines = (services: readonly Service[], tasks: Parameters<typeof renderServices>[1]): readonly string[] =>
    renderServices(services, tasks, { format: '{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}} {{.Ports}}' })
      .trim()
      .split('\n');
  it('counts the tasks that serve', () => {
    const web = service('web', {}, { replicas: 3 });
    const tasks = [task(web, 1), task(web, 2, { health: 'starting' }), task(web, 3, { state: 'failed' })];
    assert.deepEqual(lines([web], tasks), ['app_web replicated 1/3 busybox']);
  });
  it('shows ports, limits per node, jobs, and what is stopped', () => {
    const port = { target: 80, published: 8080, protocol: 'tcp', mode: 'ingress', hostIp: '' } as const;
    const placed = taskSpec({ placement: { spread: [], maxReplicasPerNode: 2 } });
    const web = service('web', { ports: [port] }, { task: placed });
    const job = service('job', {}, { mode: 'replicated-job', replicas: 2 });
    const still = service('still', { stopped: true });
    const all = service('all', { desiredTasks: 4 }, { mode: 'global' });
    assert.deepEqual(lines([web, job, still, all], [task(job, 1, { state: 'complete' }), task(job, 2)]), [
      'app_all global 0/4 busybox ',
      'app_job replicated job 1/1 (1/2 completed) busybox ',
      'app_still replicated 0/1 (stopped) busybox ',
      'app_web replicated 0/1 (max 2 per node) busybox *:8080->80/tcp',
    ]);
  });
  it('-q prints ids, filters choose', () => {
    const global = service('all', { id: 'xyz' as ServiceId }, { name: 'all', mode: 'global', labels: { a: 'b' } });
    assert.equal(renderServices([WEB, DB], [], { quiet: true }), 'abd222\nabc111\n');
    const ids = (...filters: readonly string[]): string =>
      filterServices([WEB, DB, global], filters)
        .map(({ spec }) => spec.name)
        .join();
    assert.equal(ids('mode=global'), 'all');
    assert.equal(ids('label=a=b'), 'all');
    assert.equal(ids('name=w', 'name=d'), 'web,db');
    assert.equal(ids('id=ab'), 'web,db');
    refuses(
      () => ids('mode=x'),
      'INVALID_INPUT',
      'using --filter "mode=x": expected one of replicated, global, replicated-job, global-job',
    );
  });
});

describe('the tasks of services', () => {
  const old = task(WEB, 1, { state: 'failed', error: 'boom' }, { id: 'old' as TaskId, desiredState: 'shutdown' });
  const now = task(WEB, 1, {}, { id: 'new' as TaskId, meta: { version: 2, createdAt: T0 + 1, updatedAt: T0 } });
  const show = (format: string, ...filter: readonly string[]): string =>
    renderServiceTasks([WEB], [old, now, task(DB, 1)], [node], T0 + 5000, {
      format,
      filter,
      trunc: true,
      resolve: true,
    });
  it('are named as in Swarm, older ones of a slot below the newest', () => {
    assert.equal(show('{{.ID}} {{.Name}} {{.Node}} {{.Error}}'), 'new web.1 m1 \nold web.1 m1 "boom"\n');
    assert.match(show('table {{.Name}}'), /^NAME\nweb\.1\n \\_ web\.1\n$/);
  });
  it('that are gone are shown with the image that they had', () => {
    const gone: PastTask = {
      id: 'gone' as TaskId,
      image: 'web:1',
      nodeId: node.id,
      state: 'shutdown',
      error: '',
      timestamp: T0,
      createdAt: T0 - 1,
      specVersion: 1,
    };
    const text = (filter: readonly string[]): string =>
      renderServiceTasks([WEB], [{ ...now, past: [gone] }], [node], T0 + 5000, {
        format: '{{.ID}} {{.Name}} {{.Image}} {{.Node}} {{.DesiredState}} {{.CurrentState}}',
        filter,
        trunc: true,
        resolve: true,
      });
    assert.match(
      text([]),
      /^new web\.1 .* Running Running .*\ngone web\.1 web:1 m1 Shutdown Shutdown 5 seconds ago\n$/,
    );
    assert.doesNotMatch(text(['desired-state=running']), /gone/);
  });
  it('are filtered by node, id, name and desired state', () => {
    assert.equal(show('{{.ID}}', 'node=m1', 'desired-state=running'), 'new\n');
    assert.equal(show('{{.ID}}', 'name=web.2'), '');
  });
  it('of a global service are named after their nodes', () => {
    const all = service('all', {}, { name: 'all', mode: 'global' });
    const one = task(all, 1, {}, { boundNode: 'n7' as NodeId });
    const text = renderServiceTasks([all], [one], [node], T0, { format: '{{.Name}}', trunc: true, resolve: true });
    assert.equal(text, 'all.n7\n');
  });
});

describe('the logs of a service', () => {
  it('are those of a service or of one task', () => {
    const tasks = [task(WEB, 1, {}, { id: 'tttt1' as TaskId }), task(WEB, 2, {}, { id: 'tttt2' as TaskId })];
    assert.equal(findLogged({ services: [WEB, DB], tasks }, 'web').only, undefined);
    assert.equal(findLogged({ services: [WEB, DB], tasks }, 'tttt2').only?.slot, 2);
    refuses(
      () => findLogged({ services: [WEB], tasks }, 'tttt'),
      'CONFLICT',
      'task tttt is ambiguous (2 matches found)',
    );
    refuses(() => findLogged({ services: [WEB], tasks }, 'x'), 'NOT_FOUND', 'no such task or service: x');
  });
  it('say which task on which node', () => {
    const one = task(WEB, 1, {}, { id: '0123456789abcdef' as TaskId });
    const name = (change: object): string =>
      logSource(one, WEB, [{ ...node, id: 'node' as NodeId }], { resolve: true, taskIds: true, trunc: true, ...change })
        .name;
    assert.equal(name({}), 'web.1.0123456789ab@m1');
    assert.equal(name({ taskIds: false }), 'web.1@m1');
    assert.equal(name({ trunc: false, resolve: false }), 'web.1.0123456789abcdef@node');
  });
});

describe('a service that is inspected', () => {
  const full = service(
    'web',
    {
      updateStatus: {
        state: 'completed',
        startedAt: T0,
        completedAt: T0,
        message: 'update completed',
        specVersion: 1,
        total: 1,
        failed: [],
        slots: [],
        reason: '',
      },
    },
    {
      labels: { a: 'b' },
      ports: [{ target: 80, published: 8080, protocol: 'tcp', mode: 'ingress', hostIp: '' }],
      task: taskSpec({
        container: containerSpec({
          env: ['A=1'],
          command: { args: ['x'] },
          extraHosts: ['db=10.0.0.1'],
          healthCheck: { test: ['CMD', 'y'], intervalMs: 2000 },
          mounts: [{ type: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 5, mode: 0o700 }],
        }),
        limits: { nanoCpus: 5e8 },
      }),
    },
  );
  it('has Docker’s fields, times in nanoseconds', () => {
    const shown = inspectedService(full);
    const template = shown.Spec.TaskTemplate;
    assert.deepEqual(template.ContainerSpec.Args, ['x']);
    assert.deepEqual(template.ContainerSpec.Hosts, ['10.0.0.1 db']);
    assert.deepEqual(template.ContainerSpec.Healthcheck, { Test: ['CMD', 'y'], Interval: 2e9 });
    assert.equal(template.ContainerSpec.StopGracePeriod, 1e10);
    assert.deepEqual(template.Resources.Limits, { NanoCPUs: 5e8 });
    assert.deepEqual(shown.Spec.Mode, { Replicated: { Replicas: 1 } });
    assert.deepEqual([...shown.Spec.Labels], [['a', 'b']]);
    assert.equal(shown.UpdateStatus?.State, 'completed');
    assert.deepEqual(shown.Endpoint.Spec.Ports?.[0], {
      Protocol: 'tcp',
      TargetPort: 80,
      PublishedPort: 8080,
      PublishMode: 'ingress',
    });
  });
  it('--pretty', () => {
    const text = prettyService(full, T0 + 60_000);
    assert.match(
      text,
      /^ID: +service-web\nName: +app_web\nStack: +app\nLabels:\n a=b\nService Mode: +Replicated\n Replicas: +1\n/,
    );
    assert.match(text, / Completed: +about a minute ago\n/);
    assert.match(text, / CPU: +0\.5\n/);
    const port = { target: 80, published: 8080, protocol: 'tcp', mode: 'ingress', hostIp: '' } as const;
    assert.match(prettyService({ ...full, ports: [port] }, T0), / PublishedPort: +8080\n {2}Protocol: +tcp\n/);
  });
});
