import type { ServiceHandlers } from '../../../proto/rpc/server.ts';

/**
 * Handlers whose work another set of handlers does, which is asked for at each call: a node's role can change while it
 * serves.
 * @param current what answers now; what it throws ends the call
 */
export function late<S extends Readonly<Record<string, object>>>(
  definition: S,
  current: () => ServiceHandlers<S>,
): ServiceHandlers<S> {
  type Handler = (...args: readonly unknown[]) => unknown;
  const handlers = Object.keys(definition).map((name) => [
    name,
    (...args: readonly unknown[]) => (current() as unknown as Readonly<Record<string, Handler>>)[name]?.(...args),
  ]);
  return Object.fromEntries(handlers) as ServiceHandlers<S>;
}
