import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { codec } from '../codec/message.ts';
import type { Method } from './services.ts';

export type AnyMethod = Method<unknown, unknown, boolean, boolean>;

/** A method in the shape that @grpc/grpc-js takes: with the codec of each side. */
export function grpcMethod(method: AnyMethod): MethodDefinition<unknown, unknown> {
  const question = codec<object>(method.request);
  const answer = codec<object>(method.response);
  return {
    path: method.path,
    requestStream: method.requestStream,
    responseStream: method.responseStream,
    requestSerialize: (value) => question.encode(value as object),
    requestDeserialize: question.decode,
    responseSerialize: (value) => answer.encode(value as object),
    responseDeserialize: answer.decode,
  };
}

/** A service in that shape. */
export function grpcService(definition: Readonly<Record<string, object>>): ServiceDefinition {
  return Object.fromEntries(
    Object.entries(definition).map(([name, method]) => [name, grpcMethod(method as AnyMethod)]),
  );
}
