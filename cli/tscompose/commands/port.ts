import { TsswarmError } from '../../../base/errors.ts';
import type { Context } from '../context.ts';
import { readIndex } from '../containers/choose.ts';
import { publishersOf } from '../containers/describe.ts';
import { demandService, readExisting } from '../project/existing.ts';
import { containersOf } from './ps.ts';

export interface PortOptions {
  readonly index?: string;
  readonly protocol: string;
}

/** Prints where a port of a container is published: "0.0.0.0:8080". */
export async function port(context: Context, name: string, target: string, options: PortOptions): Promise<void> {
  const index = readIndex(options.index);
  const [, number = '', protocol = options.protocol] = /^(\d+)(?:\/(tcp|udp|sctp))?$/.exec(target) ?? [];
  if (number === '' || !['tcp', 'udp', 'sctp'].includes(protocol)) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `using the port "${target}" (${options.protocol}): expected <number>[/tcp]`,
    );
  }
  const project = await context.projectName();
  const node = await context.openNode();
  try {
    const existing = await readExisting(node, project, []);
    const service = demandService(existing.services, name, project);
    const found = containersOf([service], existing.tasks)
      .filter(({ task }) => !task.oneOff && task.status.state === 'running')
      .find(({ task }) => index === undefined || task.slot === index);
    if (found === undefined) {
      throw new TsswarmError('CONTAINER_NOT_RUNNING', `finding a port of service "${name}": it has no such container`, {
        hint: 'see "tscompose ps"',
      });
    }
    const published = publishersOf(service, found.task)
      .filter((one) => one.TargetPort === Number(number) && one.Protocol === protocol)
      .map(({ URL, PublishedPort }) => `${URL.includes(':') ? `[${URL}]` : URL}:${PublishedPort}`);
    if (published.length === 0) {
      throw new TsswarmError(
        'NOT_FOUND',
        `finding port ${number}/${protocol} of ${found.task.name}: it is not published`,
        {
          hint: 'publish it with "ports" in the compose file',
        },
      );
    }
    context.terminal.out(published.map((line) => `${line}\n`).join(''));
  } finally {
    node.close();
  }
}
