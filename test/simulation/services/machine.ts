import type { Clock } from '../../../base/clock.ts';
import { silentLogger } from '../../../base/log.ts';
import type { NodeId } from '../../../base/ids.ts';
import { EVERY_FEATURE } from '../../../manager/model/spec-change.ts';
import type { LiveFeature, NodeDescription } from '../../../proto/types/index.ts';
import { decodeAgentState, encodeAgentState } from '../../../worker/agent/disk.ts';
import { startAgent } from '../../../worker/agent/loop.ts';
import type { Agent } from '../../../worker/agent/loop.ts';
import { createManagers } from '../../../worker/managers/client.ts';
import type { Life, World } from '../world.ts';
import { machineClock } from './clock.ts';
import { simulatedEngine } from './engine.ts';
import { Kernel } from './kernel.ts';
import type { Onlooker } from './kernel.ts';
import type { End, Wires } from './wires.ts';

/** Probability that the agent's file is not there after a crash. */
const FILE_LOST = 0.3;

/** What most nodes can change in containers that run; others have an older version, or an older kernel. */
const FULL: readonly (readonly LiveFeature[])[] = [[...EVERY_FEATURE]];

/** A worker: a machine with containers, and the product's agent on it while that runs. */
export class Machine {
  readonly id: NodeId;
  readonly kernel: Kernel;
  life: Life = { alive: false, pausedUntil: 0 };
  agent: Agent | undefined;
  /** It is taken out for good. */
  gone = false;
  /** Told of every start of its process. */
  onStart: (end: End, clock: Clock) => void = () => undefined;
  readonly description: NodeDescription;
  readonly #world: World;
  readonly #wires: Wires;
  readonly #rate: number;
  readonly #skewMs: number;
  /** Where managers were reached last; on disk. */
  #managers: readonly string[];
  /** The agent's file, and what was there before it was replaced last. */
  #file: Buffer | undefined;
  #fileBefore: Buffer | undefined;

  constructor(world: World, wires: Wires, id: string, skewMs: number, managers: readonly string[], onlooker: Onlooker) {
    this.#world = world;
    this.#wires = wires;
    this.id = id as NodeId;
    this.#managers = managers;
    this.#skewMs = skewMs;
    // Clocks run apart by a tenth at most: leases reckon with that.
    this.#rate = world.between(0.96, 1.04);
    this.kernel = new Kernel(world, this.id, this.#rate, onlooker);
    this.description = {
      hostname: id,
      platform: { os: 'linux', architecture: 'x86_64' },
      resources: { nanoCpus: 4e9, memoryBytes: 8 * 2 ** 30 },
      engine: { version: '1', labels: {} },
      live: world.pick([...FULL, ...FULL, ...FULL, ['limits'], []]),
    };
  }

  /** Starts the agent's process. */
  start(): void {
    if (this.life.alive || this.gone) return;
    const world = this.#world;
    const life: Life = { alive: true, pausedUntil: 0 };
    this.life = life;
    const clock = machineClock(world, life, this.#rate, this.#skewMs);
    const end = { address: this.id as string, life };
    this.onStart(end, clock);
    const managers = createManagers({
      identity: () => {
        throw new Error('nobody connects by gRPC here');
      },
      clock,
      addresses: () => this.#managers,
      learn: (addresses) => (this.#managers = addresses),
      local: () => undefined,
      connect: (address) => this.#wires.connect(end, address, { kind: 'node', nodeId: this.id, role: 'worker' }),
    });
    this.agent = startAgent({
      nodeId: this.id,
      describe: () => this.description,
      dispatcher: managers.dispatcher,
      engine: simulatedEngine(world, this.kernel, life),
      resolver: {
        changeNames: () => undefined,
        attach: () => Promise.resolve(),
        detach: () => Promise.resolve(),
      },
      balancer: {
        setAddresses: () => undefined,
        settled: () => Promise.resolve(true),
        attach: () => Promise.resolve(),
        detach: () => undefined,
      },
      netnsPath: (id) => id,
      disk: {
        load: () => (this.#file === undefined ? undefined : decodeAgentState(this.#file, 'agent.state')),
        save: (state) => {
          if (!life.alive) return;
          this.#fileBefore = this.#file;
          this.#file = Buffer.concat(encodeAgentState(state));
        },
      },
      clock,
      random: world.random,
      logger: silentLogger,
    });
  }

  /** Ends the agent's process at once; containers run on. */
  crash(downMs: number): void {
    if (!this.life.alive) return;
    this.life.alive = false;
    this.agent = undefined;
    this.kernel.abandon(this.life);
    // The file was damaged, and somebody has removed it, as the message says.
    if (this.#world.chance(FILE_LOST)) this.#file = undefined;
    this.#wires.died(this.life);
    this.#world.after(downMs, () => this.start());
  }

  /** It is taken out for good, switched off or not: what runs there is nobody's any more. */
  takeOut(isSwitchedOff: boolean): void {
    this.gone = true;
    if (isSwitchedOff) this.losePower(0);
    else this.crash(0);
  }

  /** Ends it as a daemon that is started anew does. */
  restart(downMs: number): void {
    const { agent, life } = this;
    if (agent === undefined || !life.alive) return;
    // Its goodbye takes as long as the managers take to answer, and no longer than half a second.
    void agent.close();
    this.#world.after(this.#world.between(0, 600), () => {
      if (this.life === life) this.crash(downMs);
    });
  }

  /** The power goes: containers with it, and what the disk had not got for sure. */
  losePower(downMs: number): void {
    this.crash(downMs);
    this.kernel.lose();
    if (this.#world.chance(0.5)) this.#file = this.#fileBefore;
  }
}
