import { join } from 'node:path';
import protobuf from 'protobufjs';

const root = protobuf.loadSync(join(import.meta.dirname, 'kv.proto'));
const PutRequest = root.lookupType('etcdserverpb.PutRequest');
const PutResponse = root.lookupType('etcdserverpb.PutResponse');

export interface Put {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** The gRPC path of etcd's put. */
export const PUT_PATH = '/etcdserverpb.KV/Put';

export function encodePut(put: Put): Buffer {
  return Buffer.from(PutRequest.encode(put).finish());
}

export function decodePut(bytes: Buffer): Put {
  return PutRequest.decode(bytes) as unknown as Put;
}

/** @param revision version of the store that holds the put */
export function encodePutAnswer(revision: number): Buffer {
  return Buffer.from(PutResponse.encode({ header: { revision } }).finish());
}

/** The revision of the answer; 0 would mean that nothing was stored. */
export function decodePutAnswer(bytes: Buffer): number {
  const { header } = PutResponse.toObject(PutResponse.decode(bytes), { longs: Number }) as {
    header?: { revision?: number };
  };
  return header?.revision ?? 0;
}
