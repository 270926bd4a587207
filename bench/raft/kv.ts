import { join } from 'node:path';
import protobuf from 'protobufjs';

const root = protobuf.loadSync(join(import.meta.dirname, 'kv.proto'));
const PutRequest = root.lookupType('etcdserverpb.PutRequest');
const PutResponse = root.lookupType('etcdserverpb.PutResponse');
const RangeRequest = root.lookupType('etcdserverpb.RangeRequest');
const RangeResponse = root.lookupType('etcdserverpb.RangeResponse');

export interface Put {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** The gRPC paths of etcd's put and linearizable read. */
export const PUT_PATH = '/etcdserverpb.KV/Put';
export const RANGE_PATH = '/etcdserverpb.KV/Range';

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

/** Asks for one key. */
export function encodeRange(key: Buffer): Buffer {
  return Buffer.from(RangeRequest.encode({ key }).finish());
}

export function decodeRange(bytes: Buffer): Buffer {
  return (RangeRequest.decode(bytes) as unknown as { key: Buffer }).key;
}

/** @param value undefined: there is no such key */
export function encodeRangeAnswer(found: { readonly key: Buffer; readonly value: Uint8Array | undefined }): Buffer {
  const kvs = found.value === undefined ? [] : [found];
  return Buffer.from(RangeResponse.encode({ kvs }).finish());
}

export function decodeRangeAnswer(bytes: Buffer): Buffer | undefined {
  return (RangeResponse.decode(bytes) as unknown as { kvs: readonly { value: Buffer }[] }).kvs[0]?.value;
}
