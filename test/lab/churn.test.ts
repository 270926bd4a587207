import assert from 'node:assert/strict';
import { Lab } from './lab.ts';
import { Churn } from './network/churn.ts';

const [FEW, MOST] = [2, 6];

/** The large form is `npm run test:lab:network`. */
describe('endpoints that join and leave while they are asked for without rest', function () {
  let lab: Lab;
  let churn: Churn;
  before(async function () {
    this.timeout(180_000);
    lab = Lab.create('tschn', 2);
    lab.form(1);
    churn = await Churn.start(lab, FEW, { workers: 4, restMs: 10, ports: 1000, parallelism: MOST / 2 });
  });
  after(async () => {
    await churn.stop();
    lab.dispose();
  });

  it('fail nobody when they are replaced and stopped as planned, by name, virtual address, TCP or UDP', async () => {
    const work = async (): Promise<void> => {
      await churn.scale(MOST);
      await churn.update();
      await churn.scale(FEW);
    };
    const { answered, lost, stale, came, went } = await churn.phase('planned', 0, work);
    assert.deepEqual([lost, stale], [[], []]);
    assert.ok(answered > 50, `${answered} answered`);
    assert.deepEqual([came, went], [MOST - FEW + MOST, MOST + MOST - FEW]);
  });
});
