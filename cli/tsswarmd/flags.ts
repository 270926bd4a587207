import { parseArgs } from 'node:util';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { LogLevel } from '../../base/log.ts';
import type { EtcdAccess } from '../../proto/types/index.ts';
import { genericResources } from '../local-node/generic-resources.ts';
import { keyInterval } from '../local-node/key-interval.ts';
import { readStoreAccess } from '../local-node/store-access.ts';

/** How a daemon was started. Every path and name is a flag, so that many nodes can share one machine. */
export interface DaemonFlags {
  /** Survives a reboot: identity, store, images, volumes. */
  readonly stateDir: string;
  /** Empty after a reboot: sockets and what belongs to running containers. */
  readonly runDir: string;
  /** Empty: as before, else "tsswarm". */
  readonly cgroupParent: string;
  /** Empty: as before, else the host's. */
  readonly nodeName: string;
  readonly addressPools: readonly string[];
  /** Undefined: as before, else none. */
  readonly engineLabels: Readonly<Record<string, string>> | undefined;
  /** "gpu=2", "gpu=UUID1,UUID2"; undefined: as before, else nothing. */
  readonly genericResources: readonly string[] | undefined;
  readonly logLevel: LogLevel;
  /** Empty: standard error. */
  readonly logFile: string;
  /** Where the node is spoken to. */
  readonly socket: string;
  /** A descriptor to which a line is written once the socket answers; -1: none. */
  readonly readyFd: number;
  /** Where other nodes are listened to, "host:port"; empty: as before, else everywhere. */
  readonly listenAddr: string;
  /** What others are told to connect to, "host[:port]"; empty: as before, else found out. */
  readonly advertiseAddr: string;
  /** Where overlay networks' packets go, address or interface; empty: as before, else the advertised address. */
  readonly dataPathAddr: string;
  /** How long a key of encrypted networks is used, ms; 0: until somebody has it rotated. Undefined: as before, else a day. */
  readonly keyIntervalMs: number | undefined;
  /** An external store; undefined: as before, else the managers themselves. */
  readonly store: EtcdAccess | undefined;
}

export const DEFAULT_STATE_DIR = '/var/lib/tsswarm';
export const DEFAULT_RUN_DIR = '/run/tsswarm';

/** Path of the daemon's socket in its run directory, where none is named. */
const socketPath = (runDir: string): string => `${runDir}/tsswarm.sock`;

export const USAGE = `Usage: tsswarmd [options]

The daemon of a node. "tsswarm init" starts it.

  --state-dir DIR       what survives a reboot (default ${DEFAULT_STATE_DIR})
  --run-dir DIR         what does not (default ${DEFAULT_RUN_DIR})
  --cgroup-parent NAME  cgroup that holds the containers' (default: as before, else tsswarm)
  --node-name NAME      name of this node (default: as before, else the host's)
  --engine-label K=V    label of this node's engine, for constraints; repeatable, all anew (default: as before)
  --generic-resource KIND=N|KIND=NAME,…  what this node has beside CPUs and memory; repeatable, all anew (default: as before)
  --address-pool CIDR   subnets of networks are cut from it; repeatable
  --log-level LEVEL     debug, info, warn or error (default info)
  --log-file FILE       write the log there instead of standard error
  --socket PATH         where the node is spoken to (default <run-dir>/tsswarm.sock)
  --listen-addr ADDR    where other nodes are listened to (default 0.0.0.0:2377)
  --advertise-addr ADDR what they are told to connect to (default: this machine's address)
  --data-path-addr ADDR where packets of overlay networks go: address or interface (default: the advertised address)
  --network-key-interval TIME  how long a key of encrypted networks is used; 0: until somebody has it rotated
                        (default: as before, else 24h)
  --store URL           keep the cluster's state in an external etcd: etcd://host:2379,…[/prefix], etcds:// for TLS
                        (default: as before, else on the managers; one that joins is told)
  --store-cacert FILE   who signed etcd's certificates; --store-cert and --store-key: what it is shown
  --store-password-file FILE  password of the URL's user (or variable TSSWARM_STORE_PASSWORD)
  --ready-fd N          write "ready" to descriptor N once the socket answers
  --help
`;

/** Reads the command line; undefined when help was asked for. @throws INVALID_INPUT */
export function readFlags(argv: readonly string[]): DaemonFlags | undefined {
  const read = () =>
    parseArgs({
      args: [...argv],
      options: {
        'state-dir': { type: 'string', default: DEFAULT_STATE_DIR },
        'run-dir': { type: 'string', default: DEFAULT_RUN_DIR },
        'cgroup-parent': { type: 'string', default: '' },
        'node-name': { type: 'string', default: '' },
        'engine-label': { type: 'string', multiple: true, default: [] },
        'generic-resource': { type: 'string', multiple: true, default: [] },
        'address-pool': { type: 'string', multiple: true, default: [] },
        'log-level': { type: 'string', default: 'info' },
        'log-file': { type: 'string', default: '' },
        socket: { type: 'string', default: '' },
        'listen-addr': { type: 'string', default: '' },
        'advertise-addr': { type: 'string', default: '' },
        'data-path-addr': { type: 'string', default: '' },
        'network-key-interval': { type: 'string' },
        store: { type: 'string' },
        'store-cacert': { type: 'string' },
        'store-cert': { type: 'string' },
        'store-key': { type: 'string' },
        'store-password-file': { type: 'string' },
        'ready-fd': { type: 'string', default: '-1' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  let values: ReturnType<typeof read>;
  try {
    values = read();
  } catch (error) {
    throw new TsswarmError('INVALID_INPUT', `reading the command line: ${messageOf(error)}`, {
      hint: 'see tsswarmd --help',
    });
  }
  if (values.help) return undefined;
  const logLevel = values['log-level'];
  if (!['debug', 'info', 'warn', 'error'].includes(logLevel)) {
    throw new TsswarmError('INVALID_INPUT', `using log level "${logLevel}": expected debug, info, warn or error`);
  }
  return {
    stateDir: values['state-dir'],
    runDir: values['run-dir'],
    cgroupParent: values['cgroup-parent'],
    nodeName: values['node-name'],
    addressPools: values['address-pool'],
    engineLabels: readLabels(values['engine-label']),
    genericResources: readResources(values['generic-resource']),
    logLevel: logLevel as LogLevel,
    logFile: values['log-file'],
    socket: values.socket || socketPath(values['run-dir']),
    readyFd: Number(values['ready-fd']),
    listenAddr: values['listen-addr'],
    advertiseAddr: values['advertise-addr'],
    dataPathAddr: values['data-path-addr'],
    keyIntervalMs: keyInterval(values['network-key-interval']),
    store: readStoreAccess(
      {
        store: values.store,
        storeCacert: values['store-cacert'],
        storeCert: values['store-cert'],
        storeKey: values['store-key'],
        storePasswordFile: values['store-password-file'],
      },
      process.env,
    ),
  };
}

/** @throws INVALID_INPUT */
function readResources(given: readonly string[]): readonly string[] | undefined {
  if (given.length > 0) genericResources(given);
  return given.length === 0 ? undefined : given;
}

/** @throws INVALID_INPUT */
function readLabels(given: readonly string[]): Readonly<Record<string, string>> | undefined {
  if (given.length === 0) return undefined;
  return Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf('=');
      if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
      throw new TsswarmError('INVALID_INPUT', `labelling the engine "${text}": expected <key>=<value>`);
    }),
  );
}
