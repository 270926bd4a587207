import assert from 'node:assert/strict';
import { codec } from '../../proto/codec/message.ts';
import type { ServiceSpec, TaskSpec } from '../../proto/types/index.ts';
import { containerSpec } from '../../test/builders/container-spec.ts';
import { serviceSpec, taskSpec } from '../../test/builders/specs.ts';
import { compareServiceSpecs } from './spec-change.ts';

describe('the comparison of specs', () => {
  const spec = serviceSpec('web', {
    task: taskSpec({
      container: containerSpec({
        mounts: [
          { type: 'bind', source: '/a', target: '/a', readOnly: true, propagation: 'rprivate', createHostPath: false },
          { type: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 0, mode: 0o1777 },
        ],
      }),
    }),
  });

  it('finds no difference in what has been on the disk', () => {
    const wire = codec<ServiceSpec>('ServiceSpec');
    assert.deepEqual(compareServiceSpecs(spec, wire.decode(wire.encode(spec))).fields, []);
  });

  it('finds no difference in a file that lies somewhere else', () => {
    const labelled = (path: string, own: string) => {
      const labels = { 'com.docker.compose.project.config_files': path, 'com.docker.compose.config-hash': path, own };
      return { ...spec, task: { ...spec.task, container: { ...spec.task.container, labels } } };
    };
    assert.deepEqual(compareServiceSpecs(labelled('/a', '1'), labelled('-', '1')).fields, []);
    assert.deepEqual(compareServiceSpecs(labelled('/a', '1'), labelled('/a', '2')).fields, ['task.container.labels']);
  });

  it('tells a command of no words from none', () => {
    const task = { ...spec.task, container: { ...spec.task.container, command: { args: [] } } };
    assert.deepEqual(compareServiceSpecs(spec, { ...spec, task }).fields, ['task.container.command']);
  });

  const changed = (task: Partial<TaskSpec>): ServiceSpec => ({ ...spec, task: { ...spec.task, ...task } });
  const image: ServiceSpec = changed({ container: { ...spec.task.container, image: 'other' } });
  const cpus: ServiceSpec = changed({ limits: { nanoCpus: 1e9 } });

  it('leaves tasks alone for ports of the cluster, and replaces them for those of their own nodes', () => {
    const published = (mode: 'ingress' | 'host', port: number): ServiceSpec => ({
      ...spec,
      ports: [{ target: 80, published: port, protocol: 'tcp', mode, hostIp: '' }],
    });
    const effect = (before: ServiceSpec, after: ServiceSpec) => compareServiceSpecs(before, after).effects[0]?.effect;
    assert.equal(effect(published('ingress', 80), published('ingress', 81)), 'keep');
    assert.equal(effect(published('host', 80), published('host', 81)), 'replace');
    assert.equal(effect(published('ingress', 80), published('host', 80)), 'replace');
    assert.equal(effect(published('host', 80), spec), 'replace');
  });

  it('names the fields that differ, what each of them does, and why tasks have to be replaced', () => {
    const kept = compareServiceSpecs(spec, { ...spec, replicas: 2 });
    assert.deepEqual(kept.effects, [{ field: 'replicas', effect: 'keep', reason: '' }]);
    assert.deepEqual([kept.replaces, kept.touches], [false, false]);
    const replaced = compareServiceSpecs(spec, image);
    const reason = 'a running process keeps its program';
    assert.deepEqual(replaced.effects, [{ field: 'task.container.image', effect: 'replace', reason }]);
    assert.deepEqual([replaced.replaces, replaced.touches], [true, true]);
    const live = compareServiceSpecs(spec, cpus);
    assert.deepEqual(live.effects, [{ field: 'task.limits.nanoCpus', effect: 'live', reason: '' }]);
    assert.deepEqual([live.replaces, live.touches], [false, true]);
  });

  it('replaces tasks whose node cannot change them, and jobs', () => {
    const [effect] = compareServiceSpecs(spec, cpus, new Set()).effects;
    assert.equal(effect?.reason, 'its node cannot change the limits of running containers');
    const job = { mode: 'replicated-job' } as const;
    const [ofJob] = compareServiceSpecs({ ...spec, ...job }, { ...cpus, ...job }).effects;
    assert.equal(ofJob?.reason, 'a job that changes is run anew');
  });
});
