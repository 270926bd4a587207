import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Lab } from '../../test/lab/lab.ts';

/** What a change took, and how many containers were replaced or started again for it. */
export interface Outcome {
  readonly ms: number;
  readonly restarts: number;
}

/** The first process of a container. */
interface Contained {
  readonly pid: number;
  readonly started: string;
  readonly cgroup: string;
}

/** Longest that a change may take to be seen. */
const PATIENCE_MS = 60_000;

/** Three managers of ours with one project, driven by the commands of a user. */
export class OwnCluster {
  readonly #lab: Lab;
  readonly #replicas: number;
  #cpus = '';
  #ports: readonly number[] = [];
  #networks = 'default';

  private constructor(lab: Lab, replicas: number) {
    this.#lab = lab;
    this.#replicas = replicas;
  }

  static start(replicas: number): OwnCluster {
    const lab = Lab.create('tsl', 3);
    const cluster = new OwnCluster(lab, replicas);
    try {
      lab.form(3);
      for (const machine of lab.machines) machine.load(['busybox']);
      cluster.#write('first');
      cluster.#up();
      return cluster;
    } catch (error) {
      lab.dispose();
      throw error;
    }
  }

  changeCpuLimit(cpus: number): Promise<Outcome> {
    this.#cpus = `, deploy: {replicas: ${this.#replicas}, resources: {limits: {cpus: "${cpus}"}}}`;
    return this.#change(undefined, () => {
      const quotas = this.#containers().map(({ cgroup }) =>
        Number(readFileSync(join(cgroup, 'cpu.cfs_quota_us'), 'utf8')),
      );
      return quotas.length === this.#replicas && quotas.every((quota) => quota === cpus * 100_000);
    });
  }

  addPort(port: number): Promise<Outcome> {
    this.#ports = [...this.#ports, port];
    return this.#change(undefined, () => this.#answers(port));
  }

  changeSecret(content: string): Promise<Outcome> {
    return this.#change(content, () =>
      this.#containers().every(({ pid }) => readFileSync(`/proc/${pid}/root/run/secrets/word`, 'utf8') === content),
    );
  }

  /** Until every container reaches the one that is on the other network by its name, and is reached from there. */
  async attachNetwork(): Promise<Outcome> {
    this.#networks = 'default, other';
    const attached = await this.#change(undefined, () => this.#meet());
    this.#networks = 'default';
    const left = await this.#change(undefined, () =>
      this.#containers().every(({ pid }) => !readFileSync(`/proc/${pid}/net/dev`, 'utf8').includes('eth1:')),
    );
    return { ms: attached.ms, restarts: attached.restarts + left.restarts };
  }

  stop(): void {
    this.#lab.dispose();
  }

  /** Types `up` and waits until the change is seen everywhere. */
  async #change(secret: string | undefined, isTrue: () => boolean | Promise<boolean>): Promise<Outcome> {
    const before = new Set(this.#containers().map(({ pid, started }) => `${pid} ${started}`));
    this.#write(secret);
    const began = performance.now();
    this.#up();
    while (!(await isTrue())) {
      if (performance.now() - began > PATIENCE_MS) throw new Error(`a change was not seen within ${PATIENCE_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const ms = performance.now() - began;
    const kept = this.#containers().filter(({ pid, started }) => before.has(`${pid} ${started}`));
    return { ms, restarts: before.size - kept.length };
  }

  get #folder(): string {
    return join(this.#lab.machine(0).dir, 'live');
  }

  #write(secret: string | undefined): void {
    const ports = this.#ports.map((port) => `"${port}:80"`).join(', ');
    const deploy = this.#cpus || `, deploy: {replicas: ${this.#replicas}}`;
    const service = `{image: busybox, command: httpd -f -p 80, secrets: [word], ports: [${ports}], networks: [${this.#networks}]${deploy}}`;
    const peer = '{image: busybox, command: httpd -f -p 80, init: true, networks: [other]}';
    this.#lab.machine(0).project('live', {
      'compose.yaml': `services: {web: ${service}, peer: ${peer}}\nnetworks: {default: {}, other: {}}\nsecrets: {word: {file: ./word}}\n`,
      ...(secret === undefined ? {} : { word: secret }),
    });
  }

  #up(): void {
    this.#lab.machine(0).composeOk(this.#folder, 'up', '-d');
  }

  /** Asked in the containers, by the resolver that they have. */
  #meet(): boolean {
    const ask = (pid: number, name: string): string =>
      `nsenter -t ${pid} -m -n /bin/busybox timeout 2 wget -q -O /dev/null http://${name}/etc/hostname`;
    const all = this.#processes();
    const others = all.filter(({ isPeer }) => isPeer).map(({ pid }) => ask(pid, 'web'));
    const asked = [...this.#containers().map(({ pid }) => ask(pid, 'peer')), ...others];
    if (asked.length !== this.#replicas + 1) return false;
    const script = `${asked.map((line) => `${line} & all="$all $!"`).join('\n')}\nfor one in $all; do wait $one || exit 1; done`;
    return this.#lab.machine(0).run('sh', '-c', script).code === 0;
  }

  /** First processes of the containers of the service on all machines. */
  #containers(): readonly Contained[] {
    return this.#processes().filter(({ isPeer }) => !isPeer);
  }

  #processes(): readonly (Contained & { readonly isPeer: boolean })[] {
    return this.#lab.machines.flatMap(({ cgroupParent }) => {
      const parent = `/sys/fs/cgroup/cpu/${cgroupParent}`;
      return readdirSync(parent, { withFileTypes: true }).flatMap((entry) => {
        if (!entry.isDirectory()) return [];
        const cgroup = join(parent, entry.name);
        try {
          const pid = Number(readFileSync(join(cgroup, 'cgroup.procs'), 'utf8').split('\n')[0]);
          const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
          const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
          return [{ pid, started, cgroup, isPeer: !existsSync(`/proc/${pid}/root/run/secrets/word`) }];
        } catch {
          // It ends just now.
          return [];
        }
      });
    });
  }

  /** Whether a connection to the port of each machine is taken, asked from inside the first machine. */
  #answers(port: number): boolean {
    const open = this.#lab.machines.map((_, index) => `(: <>/dev/tcp/${this.#lab.address(index)}/${port}) 2>/dev/null`);
    return this.#lab.machine(0).run('timeout', '1', 'bash', '-c', open.join(' && ')).code === 0;
  }
}
