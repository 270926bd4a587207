import { match, equal } from 'node:assert/strict';
import { EMPTY_RULESET, changeRules, repairRules } from './ruleset.ts';

describe('guarded ports', () => {
  const guarded = [{ protocol: 'tcp', port: 2377 }] as const;
  it('come, go, and are repaired with the other rules', () => {
    const rules = { ...EMPTY_RULESET, guarded };
    equal(changeRules('t', EMPTY_RULESET, rules), 'add element ip t guarded { tcp . 2377 }');
    equal(changeRules('t', rules, EMPTY_RULESET), 'delete element ip t guarded { tcp . 2377 }');
    match(repairRules('t', rules), /flush set ip t guarded[^]*add element ip t guarded \{ tcp \. 2377 \}/);
  });
});
