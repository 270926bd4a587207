import { TsswarmError } from '../../../base/errors.ts';
import type { NodeId } from '../../../base/ids.ts';
import { codec } from '../../codec/message.ts';
import type { RelayCall, RelayInput, RelayOutput } from '../../types/index.ts';
import type { Caller } from '../caller.ts';
import { admit } from '../callers.ts';
import type { DuplexCall, ServiceClient } from '../client.ts';
import { encodeFailure } from '../local/failure.ts';
import type { ServiceHandlers } from '../server.ts';
import type { Method, relayService } from '../services.ts';

type AnyMethod = Method<unknown, unknown, boolean, boolean>;
type Handler = (input: unknown, signal: AbortSignal, caller: Caller) => unknown;

/** What a node does for managers that call it. */
export interface AnsweredMethods {
  find(path: string): { readonly method: AnyMethod; readonly handler: Handler } | undefined;
}

/** Who is served: its certificate was looked at when we connected to it. */
const MANAGER: Caller = { kind: 'node', role: 'manager', nodeId: '' as NodeId };

/** The methods of one service. */
export function methodsOf<S extends Readonly<Record<string, object>>>(
  definition: S,
  handlers: ServiceHandlers<S>,
): AnsweredMethods {
  const byPath = new Map(
    Object.entries(definition).map(([name, value]) => {
      const method = value as AnyMethod;
      return [method.path, { method, handler: (handlers as unknown as Record<string, Handler>)[name] as Handler }];
    }),
  );
  return { find: (path) => byPath.get(path) };
}

/**
 * Answers one call that a manager made of this node, on a stream to that manager. Never throws: what goes wrong is told there.
 * @param signal ends it
 */
export async function answerCall(
  relay: ServiceClient<typeof relayService>,
  nodeId: NodeId,
  { callId, method: path, request }: RelayCall,
  methods: AnsweredMethods,
  signal: AbortSignal,
): Promise<void> {
  const life = new AbortController();
  const call = relay.answer(AbortSignal.any([signal, life.signal]));
  void call.closed.then(() => life.abort(new Error('the caller is gone')));
  const say = (output: Pick<RelayOutput, 'message' | 'failure' | 'done'>): Promise<void> =>
    call.send({ nodeId, callId, ...output });
  try {
    await say({});
    const found = methods.find(path);
    if (found === undefined) {
      throw new TsswarmError('NOT_SUPPORTED', `calling "${path}": this node has no such method`, {
        hint: 'the nodes are of different versions: see "tsswarm node ls"',
      });
    }
    const { method, handler } = found;
    admit(path, MANAGER);
    const question = codec<object>(method.request);
    const { encode } = codec<object>(method.response);
    const inputs = method.requestStream ? decoded(call, question.decode) : question.decode(request);
    // Nobody sends anything, but the end of the call is to be noticed.
    if (!method.requestStream) void drain(call.output[Symbol.asyncIterator]());
    if (!method.responseStream) {
      const answer = await (handler(inputs, life.signal, MANAGER) as Promise<object>);
      await say({ message: encode(answer) });
    } else {
      for await (const value of handler(inputs, life.signal, MANAGER) as AsyncIterable<object>) {
        if (life.signal.aborted) return;
        await say({ message: encode(value) });
      }
    }
    await say({ done: true });
  } catch (error) {
    if (!life.signal.aborted) await say({ failure: encodeFailure(error) }).catch(() => undefined);
  } finally {
    call.end();
  }
}

/** What the caller sends, to its end. What comes after is read, too: leaving a stream would end it for both directions. */
async function* decoded(
  { output }: DuplexCall<RelayOutput, RelayInput>,
  decode: (bytes: Uint8Array) => object,
): AsyncIterable<object> {
  const inputs = output[Symbol.asyncIterator]();
  for (;;) {
    const next = await inputs.next();
    if (next.done === true) return;
    const { message, end } = next.value;
    if (end) return void drain(inputs);
    if (message !== undefined) yield decode(message);
  }
}

async function drain(inputs: AsyncIterator<RelayInput>): Promise<void> {
  try {
    while ((await inputs.next()).done !== true);
  } catch {
    // It is over: `closed` says so.
  }
}
