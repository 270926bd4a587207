import { compileTemplate } from './evaluate.ts';
import { TemplateFault } from './fault.ts';
import { GO_FUNCTIONS, text as asText } from './functions.ts';
import type { TemplateFunctions } from './functions.ts';

/** What a template in a service may ask for (swarmkit, template/context.go). */
export interface TaskContext {
  readonly service: { readonly id: string; readonly name: string; readonly labels: Readonly<Record<string, string>> };
  /** Absent: not known yet; asking for it is refused. */
  readonly node?: {
    readonly id: string;
    readonly hostname: string;
    readonly os: string;
    readonly architecture: string;
  };
  readonly task: {
    /** Absent: not known yet, as the others. */
    readonly id?: string;
    readonly name?: string;
    /** Of tasks without a number, as those of global services, it is the node's id. */
    readonly slot?: string;
  };
}

/** Something to try a template with before there is a task. */
export const EXAMPLE_CONTEXT: TaskContext = {
  service: { id: 'serviceid', name: 'service', labels: {} },
  node: { id: 'nodeid', hostname: 'hostname', os: 'linux', architecture: 'amd64' },
  task: { id: 'taskid', name: 'project-service-1', slot: '1' },
};

const FUNCTIONS: TemplateFunctions = {
  ...GO_FUNCTIONS,
  // Swarm's own: the separator comes first.
  join: (separator, ...parts) => parts.map(asText).join(asText(separator)),
  // Of a map of texts Go gives the empty text for what is not there.
  index: (value, ...keys) => GO_FUNCTIONS['index']?.(value, ...keys) ?? '',
};

/** Whether anything in the text would be expanded. */
export const hasTemplate = (text: string): boolean => text.includes('{{');

/**
 * Fills a template with what is known of a task.
 * @param functions beside those of all templates
 * @throws TemplateFault
 */
export function expandText(text: string, context: TaskContext, functions: TemplateFunctions = {}): string {
  if (!hasTemplate(text)) return text;
  return compileTemplate(text, { functions: { ...FUNCTIONS, ...functions }, missing: 'refused' })(dataOf(context));
}

/** What is wrong with a template; undefined: nothing, as far as it can be known without a task. */
export function templateFault(
  text: string,
  context: TaskContext = EXAMPLE_CONTEXT,
  functions: TemplateFunctions = {},
): TemplateFault | undefined {
  try {
    expandText(text, context, functions);
    return undefined;
  } catch (error) {
    if (error instanceof TemplateFault) return error;
    throw error;
  }
}

function dataOf({ service, node, task }: TaskContext): object {
  return {
    Service: { ID: service.id, Name: service.name, Labels: new Map(Object.entries(service.labels)) },
    ...(node === undefined
      ? {}
      : {
          Node: {
            ID: node.id,
            Hostname: node.hostname,
            Platform: { Architecture: node.architecture, OS: node.os },
          },
        }),
    Task: {
      ...(task.id === undefined ? {} : { ID: task.id }),
      ...(task.name === undefined ? {} : { Name: task.name }),
      ...(task.slot === undefined ? {} : { Slot: task.slot }),
    },
  };
}
