import { setTimeout as wait } from 'node:timers/promises';
import { TsswarmError, isTsswarmError, messageOf } from '../../../base/errors.ts';
import type { CaRotationNode, GetCaResponse } from '../../../proto/types/index.ts';
import { openNode } from '../../local-node/index.ts';
import type { NodeClient, NodePlace } from '../../local-node/index.ts';
import { openDisplay } from '../../render/index.ts';
import type { ProgressRow } from '../../render/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import { ExitCode } from '../../terminal/program.ts';
import { clusterSettings } from '../cluster-settings.ts';
import { pemIn, readExternalCas } from '../external-ca.ts';

export interface CaOptions {
  readonly rotate?: boolean;
  readonly caCert?: string;
  readonly caKey?: string;
  readonly certExpiry?: string;
  readonly externalCa?: readonly string[];
  readonly detach?: boolean;
  readonly quiet?: boolean;
}

const LOOK_EVERY_MS = 250;
/** 128 + SIGINT. */
const INTERRUPTED = 130;
/** How long no manager may answer while a rotation is watched: the leader's own certificate changes too. */
const PATIENCE_MS = 30_000;

/** `tsswarm ca`: prints the root certificate; with `rotate` it goes to another one first. */
export async function ca(place: NodePlace, options: CaOptions, terminal: Terminal): Promise<void> {
  const { caCert, caKey, certExpiry, externalCa } = options;
  const needRotate = {
    '--ca-cert': caCert,
    '--ca-key': caKey,
    '--cert-expiry': certExpiry,
    '--external-ca': externalCa?.join(' '),
  };
  if (options.rotate !== true) {
    for (const [name, value] of Object.entries(needRotate)) {
      if (value === undefined) continue;
      throw new TsswarmError('INVALID_INPUT', `using ${name}: the root is only shown, expected --rotate with it`, {
        hint:
          name === '--cert-expiry' ? `tsswarm update --cert-expiry ${value}` : `tsswarm ca --rotate ${name} ${value}`,
      });
    }
  }
  const node = await openNode(place);
  try {
    if (options.rotate === true) await rotate(node, options, terminal);
    else show(await node.membership.getCa({}), terminal);
  } finally {
    node.close();
  }
}

function show({ rootCertificate, rotation }: GetCaResponse, terminal: Terminal): void {
  terminal.out(rootCertificate);
  if (rotation === undefined) return;
  terminal.err(`a rotation is under way, this is the root that is left: ${count(rotation.nodes)} use the new one\n`);
  for (const one of rotation.nodes) if (!one.done) terminal.err(`waiting for ${one.hostname}: ${waitsFor(one)}\n`);
}

async function rotate(node: NodeClient, options: CaOptions, terminal: Terminal): Promise<void> {
  const { caCert, caKey, certExpiry } = options;
  const externalCas = await readExternalCas(options.externalCa);
  if (caKey !== undefined && caCert === undefined) {
    throw new TsswarmError('INVALID_INPUT', 'using --ca-key without --ca-cert: expected both, or neither', {
      hint: 'without them a new root is made',
    });
  }
  if (caCert !== undefined && caKey === undefined && externalCas.length === 0) {
    throw new TsswarmError('INVALID_INPUT', 'using --ca-cert without --ca-key: expected the key, or who has it', {
      hint: 'give --ca-key, or --external-ca; without all of them a new root is made',
    });
  }
  const { nodeCertExpiryMs } = clusterSettings(certExpiry === undefined ? {} : { certExpiry });
  const { rootCertificate } = await node.membership.rotateCa({
    certificate: caCert === undefined ? '' : await pemIn('--ca-cert', caCert),
    key: caKey === undefined ? '' : await pemIn('--ca-key', caKey),
    externalCas,
    ...(nodeCertExpiryMs === undefined ? {} : { nodeCertExpiryMs }),
  });
  if (options.detach === true) return;
  const mode = options.quiet === true ? 'quiet' : terminal.redraws ? 'tty' : 'plain';
  const display = openDisplay({ mode, stream: process.stderr, style: terminal.errStyle, title: 'Rotating' });
  const interrupts = watchInterrupts();
  try {
    let last: GetCaResponse['rotation'];
    for await (const { rotation, rootCertificate: now } of statuses(node, interrupts.first)) {
      if (rotation?.rootCertificate === rootCertificate) {
        last = rotation;
        display.update(rowsOf(rotation.nodes));
        continue;
      }
      if (now !== rootCertificate) {
        throw new TsswarmError('CONFLICT', 'watching the rotation of the CA: another one has begun meanwhile', {
          hint: 'see tsswarm ca',
        });
      }
      // A rotation can be through before anybody has looked.
      if (last !== undefined) display.update(rowsOf(last.nodes.map((one) => ({ ...one, done: true }))));
      break;
    }
  } finally {
    interrupts.close();
    display.close();
  }
  if (interrupts.first.aborted) {
    terminal.err('The rotation goes on: "tsswarm ca" shows how far it is.\n');
    throw new ExitCode(INTERRUPTED);
  }
  if (options.quiet !== true) terminal.out(rootCertificate);
}

/** How the rotation is, again and again, until the user has enough; managers that do not answer for a moment are waited for. */
async function* statuses(node: NodeClient, enough: AbortSignal): AsyncGenerator<GetCaResponse> {
  for (let answered = performance.now(); !enough.aborted;) {
    try {
      yield await node.membership.getCa({}, enough);
      answered = performance.now();
    } catch (error) {
      if (enough.aborted) return;
      const waits = isTsswarmError(error) && error.retryable;
      if (!waits || performance.now() - answered > PATIENCE_MS) {
        throw new TsswarmError('UNAVAILABLE', `watching the rotation of the CA: ${messageOf(error)}`, {
          cause: error,
          hint: 'it goes on by itself: see tsswarm ca',
        });
      }
    }
    await wait(LOOK_EVERY_MS, undefined, { signal: enough }).catch(() => undefined);
  }
}

/** How far the nodes are, the sum first. */
export function rowsOf(nodes: readonly CaRotationNode[]): readonly ProgressRow[] {
  const all = nodes.every(({ done }) => done);
  return [
    { key: '', label: 'Certificates of the new root', status: count(nodes), phase: all ? 'done' : 'working' },
    ...nodes.map(({ nodeId, hostname, state, done }): ProgressRow => {
      const row = { key: nodeId, label: `Node ${hostname}` };
      if (done) return { ...row, status: 'Renewed', phase: 'done' };
      if (state !== 'down') return { ...row, status: 'Waiting', phase: 'working' };
      return { ...row, status: 'Down', phase: 'waiting', detail: waitsFor({ nodeId, state }) };
    }),
  ];
}

const count = (nodes: readonly CaRotationNode[]): string =>
  `${nodes.filter(({ done }) => done).length}/${nodes.length} nodes`;

function waitsFor({ nodeId, state }: Pick<CaRotationNode, 'nodeId' | 'state'>): string {
  return state === 'down'
    ? `it is down and holds the rotation up: start it, or take it out (tsswarm node rm ${nodeId})`
    : 'it has not renewed its certificate yet';
}
