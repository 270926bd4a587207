/** The process with the agents: takes orders from the bench and says how things stand. */
import { Semaphore } from '../../base/async.ts';
import { joinAgent } from './agent.ts';
import type { VirtualAgent } from './agent.ts';
import { engineCounts } from './engine.ts';
import type { Order, Standing } from './messages.ts';

const SAY_EVERY_MS = 50;
/** Joins under way at the same moment. */
const JOINING = 16;

const agents: VirtualAgent[] = [];
const silent = new Set<VirtualAgent>();

const standing = (): Standing => {
  const heard = agents.filter((agent) => !silent.has(agent));
  const { user, system } = process.cpuUsage();
  return {
    joined: agents.length,
    sessions: heard.filter(({ inSession }) => inSession).length,
    lost: agents.reduce((sum, { lost }) => sum + lost, 0),
    running: heard.reduce((sum, { running }) => sum + running.size, 0),
    ...engineCounts,
    cpuMs: (user + system) / 1000,
    rss: process.memoryUsage.rss(),
    silent: [...silent].map(({ nodeId }) => nodeId),
  };
};

process.on('message', (order: Order) => {
  if (order.kind === 'silence') {
    for (const agent of agents.slice(0, order.count)) {
      agent.silence();
      silent.add(agent);
    }
    return;
  }
  const { token, managers, count } = order;
  const joining = new Semaphore(JOINING);
  for (let index = 0; index < count; index++) {
    joining
      .use(async () => agents.push(await joinAgent(index, token, managers)))
      .catch((error: unknown) => {
        console.error('an agent could not join:', error);
        process.exit(1);
      });
  }
});
process.on('disconnect', () => process.exit(0));
setInterval(() => process.send?.(standing()), SAY_EVERY_MS);
