import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../../base/clock.ts';
import type { ContainerId } from '../../../base/ids.ts';
import { newContainerId } from '../../../base/ids.ts';
import { jsonLogger, silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import type { Engine } from '../../../node-engine/index.ts';
import { createEngine } from '../../../node-engine/index.ts';
import type { ContainerCreate, ImageInfo } from '../../../node-engine/types.ts';
import type { ContainerSpec } from '../../../proto/types/index.ts';
import { containerSpec } from '../../builders/container-spec.ts';
import { busyboxArchive } from './busybox-image.ts';

export const IMAGE = 'engine-test/busybox:latest';

/** An engine with folders and a cgroup parent of its own, and everything needed to see that it leaves nothing. */
export class EngineFixture {
  readonly root = mkdtempSync('/var/tmp/tsswarm-engine-');
  readonly stateDir = join(this.root, 'state');
  readonly runDir = join(this.root, 'run');
  readonly cgroupParent = `tsswarm-test-${randomBytes(4).toString('hex')}`;
  #engine: Engine | undefined;
  #image: ImageInfo | undefined;

  get engine(): Engine {
    if (!this.#engine) throw new Error('the engine has not been started');
    return this.#engine;
  }

  get image(): ImageInfo {
    if (!this.#image) throw new Error('the image has not been loaded');
    return this.#image;
  }

  /** Opens the engine and loads the test image if it is not there. */
  async start(): Promise<Engine> {
    this.#engine = await openEngine(this.stateDir, this.runDir, this.cgroupParent);
    await this.#engine.recover();
    this.#image = this.#engine.images.find(IMAGE) ?? (await this.load(IMAGE));
    return this.#engine;
  }

  async load(name: string, config: object = {}): Promise<ImageInfo> {
    const archive = await busyboxArchive(name, config);
    const [image] = await this.engine.images.load(
      (async function* () {
        yield archive;
      })(),
      () => undefined,
    );
    if (!image) throw new Error('the archive held no image');
    return image;
  }

  /** As a daemon that is stopped and started again: containers run on. */
  async restart(): Promise<Engine> {
    await this.#engine?.close();
    return this.start();
  }

  /** Removes everything, also after a failure. */
  async dispose(): Promise<void> {
    if (!this.#engine) await this.start();
    await Promise.all(this.engine.containers.list().map(({ id }) => this.engine.containers.remove(id)));
    await this.engine.close();
    rmSync(this.root, { recursive: true, force: true });
  }

  /** A request for a container that runs `argv` with nothing but loopback. */
  request(
    argv: readonly string[],
    spec: Partial<ContainerSpec> = {},
    over: Partial<ContainerCreate> = {},
  ): ContainerCreate {
    const id = newContainerId(systemRandom);
    return {
      id,
      name: `test-${id.slice(0, 6)}`,
      spec: containerSpec({ image: IMAGE, command: { args: argv }, ...spec }),
      imageId: this.image.id,
      limits: {},
      log: { driver: 'json-file', options: {} },
      sandbox: { mode: 'none', interfaces: [] },
      secrets: [],
      configs: [],
      labels: {},
      adopt: '',
      ...over,
    };
  }

  /** Creates and starts; returns the id. */
  async up(request: ContainerCreate): Promise<ContainerId> {
    await this.engine.containers.create(request);
    await this.engine.containers.start(request.id);
    return request.id;
  }

  /** Runs a shell line in a container of its own to its end. */
  async run(
    line: string,
    spec: Partial<ContainerSpec> = {},
    over: Partial<ContainerCreate> = {},
  ): Promise<{ readonly code: number; readonly oomKilled: boolean; readonly stdout: string; readonly stderr: string }> {
    const id = await this.up(this.request(['sh', '-c', line], spec, over));
    const { code, oomKilled } = await this.engine.containers.wait(id);
    const [stdout, stderr] = [await this.output(id, 'stdout'), await this.output(id, 'stderr')];
    await this.engine.containers.remove(id);
    return { code, oomKilled, stdout, stderr };
  }

  /** What a container has written so far. */
  async output(id: ContainerId, stream: 'stdout' | 'stderr'): Promise<string> {
    let text = '';
    const query = { follow: false, tail: -1, since: 0, until: 0 };
    for await (const record of this.engine.containers.logs(id, query)) {
      if (record.stream === stream) text += Buffer.from(record.data).toString();
    }
    return text;
  }

  /** Resolves when the container has written `text`. */
  async written(id: ContainerId, text: string): Promise<void> {
    let seen = '';
    const query = { follow: true, tail: -1, since: 0, until: 0 };
    for await (const record of this.engine.containers.logs(id, query)) {
      seen += Buffer.from(record.data).toString();
      if (seen.includes(text)) return;
    }
    throw new Error(`the container ended without writing "${text}", but: ${seen}`);
  }

  /** Everything of this engine's containers that is left on the machine. */
  leftovers(): readonly string[] {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.root));
    const files = [
      'state/engine/containers',
      'run/engine/containers',
      'run/engine/netns',
      'state/engine/writable',
    ].flatMap((folder) => listFolder(join(this.root, folder)).map((name) => `${folder}/${name}`));
    const cgroups = listFolder('/sys/fs/cgroup').flatMap((controller) =>
      listFolder(join('/sys/fs/cgroup', controller, this.cgroupParent))
        .filter((name) => /^[0-9a-f]{64}$/.test(name))
        .map((name) => `${controller}/${name}`),
    );
    const processes = listFolder('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid).includes(this.root));
    return [...mounts, ...files, ...cgroups, ...processes.map((pid) => `process ${pid} ${commandLine(pid)}`)];
  }
}

/** Opens an engine; TSSWARM_TEST_LOG=1 shows what it logs. */
export async function openEngine(stateDir: string, runDir: string, cgroupParent: string): Promise<Engine> {
  mkdirSync(stateDir, { recursive: true });
  mkdirSync(runDir, { recursive: true });
  const logger =
    process.env['TSSWARM_TEST_LOG'] === '1'
      ? jsonLogger((line) => process.stderr.write(line), Date.now, 'debug')
      : silentLogger;
  return createEngine({ stateDir, runDir, cgroupParent, logger, clock: systemClock });
}

function listFolder(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
