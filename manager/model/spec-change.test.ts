import assert from 'node:assert/strict';
import { codec } from '../../proto/codec/message.ts';
import type { ServiceSpec } from '../../proto/types/index.ts';
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
    assert.deepEqual(compareServiceSpecs(spec, wire.decode(wire.encode(spec))), { fields: [], replaces: false });
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

  it('names the fields that differ, and whether tasks have to be replaced', () => {
    assert.deepEqual(compareServiceSpecs(spec, { ...spec, replicas: 2 }), { fields: ['replicas'], replaces: false });
    const task = { ...spec.task, container: { ...spec.task.container, image: 'other' } };
    assert.deepEqual(compareServiceSpecs(spec, { ...spec, task }), {
      fields: ['task.container.image'],
      replaces: true,
    });
  });
});
