import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { codec } from '../../proto/codec/message.ts';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { AssignmentSet, TaskStatusUpdate } from '../../proto/types/index.ts';

/**
 * What the agent keeps over a restart: its assignments and what it last said of each task, so that it carries on without
 * any manager. Secrets and configs are left out: they stay in memory (and on the containers' tmpfs) only.
 */
export interface AgentState {
  readonly assignments: AssignmentSet;
  readonly statuses: readonly TaskStatusUpdate[];
}

/** Keeps the agent's state in one file, replaced atomically. */
export interface AgentDisk {
  /** Undefined when nothing was ever kept. @throws CORRUPT */
  load(): AgentState | undefined;
  save(state: AgentState): void;
}

const assignmentCodec = codec<AssignmentSet>('AssignmentSet');
const statusCodec = codec<{ readonly updates: readonly TaskStatusUpdate[] }>('UpdateTaskStatusRequest');

/** What stands in the file, in parts that follow each other. */
export function encodeAgentState({ assignments, statuses }: AgentState): readonly Uint8Array[] {
  const first = assignmentCodec.encode({ ...assignments, secrets: [], configs: [] });
  const length = Buffer.alloc(4);
  length.writeUInt32BE(first.length);
  return [length, first, statusCodec.encode({ updates: statuses })];
}

/** @param path for the message @throws CORRUPT */
export function decodeAgentState(bytes: Buffer, path: string): AgentState {
  if (bytes.length < 4 || bytes.readUInt32BE(0) + 4 > bytes.length) {
    throw new TsswarmError('CORRUPT', `reading the agent's state "${path}": the file is cut short`, {
      hint: 'remove the file: the agent asks the manager for its assignments again',
    });
  }
  const split = 4 + bytes.readUInt32BE(0);
  return {
    assignments: assignmentCodec.decode(bytes.subarray(4, split)),
    statuses: statusCodec.decode(bytes.subarray(split)).updates,
  };
}

/** @param path of the file; its folder is made */
export function agentDisk(path: string): AgentDisk {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  return {
    load() {
      let bytes: Buffer;
      try {
        bytes = readFileSync(path);
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      }
      return decodeAgentState(bytes, path);
    },
    save(state) {
      const temporary = `${path}.new`;
      const file = openSync(temporary, 'w', 0o600);
      try {
        for (const part of encodeAgentState(state)) writeSync(file, part);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(temporary, path);
    },
  };
}
