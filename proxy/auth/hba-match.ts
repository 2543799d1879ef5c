import { addressBytes, type AddressBytes, isInRange, maskOf } from './addresses.ts';
import type { HbaRule } from './hba-rules.ts';
import { isKeyword, isListedRole } from './names-match.ts';
import type { ClientFacts, RuleQuestions } from './policy.ts';

/** Addresses of this machine, with the masks of their networks. */
export type Interfaces = () => readonly { readonly address: string; readonly netmask: string }[];

/**
 * The first rule that fits, as PostgreSQL goes through them (check_hba of hba.c). Null: none. Names are asked for only where
 * everything else of a rule fits.
 */
export async function findRule(
  rules: readonly HbaRule[],
  facts: ClientFacts,
  questions: RuleQuestions,
  interfaces: Interfaces,
): Promise<HbaRule | null> {
  const address = facts.address === null ? null : addressBytes(facts.address);
  for (const rule of rules) {
    if (!fitsConnection(rule, facts)) continue;
    if (rule.address.kind !== 'name' && !facts.local && !fitsAddress(rule, address, interfaces)) continue;
    if (!(await fitsDatabase(rule, facts, questions))) continue;
    if (!(await isListedRole(rule.users, facts.user, () => questions.memberOf()))) continue;
    if (rule.address.kind === 'name' && !(await questions.hasHostName(rule.address.name))) continue;
    return rule;
  }
  return null;
}

function fitsConnection({ type }: HbaRule, { local, encrypted }: ClientFacts): boolean {
  if (local || type === 'local') return local && type === 'local';
  if (type === 'hostssl') return encrypted;
  if (type === 'hostnossl') return !encrypted;
  return type !== 'hostgssenc'; // there is no GSS encryption here
}

function fitsAddress({ address: wanted }: HbaRule, address: AddressBytes | null, interfaces: Interfaces): boolean {
  if (wanted.kind === 'all') return true;
  if (address === null || wanted.kind === 'name') return false;
  if (wanted.kind === 'range') return isInRange(address, wanted.base, wanted.mask);
  return interfaces().some((own) => {
    const base = addressBytes(own.address);
    const mask = wanted.kind === 'samehost' ? maskOf(128, base?.length ?? 0) : addressBytes(own.netmask);
    return base !== null && mask !== null && isInRange(address, base, mask);
  });
}

async function fitsDatabase(rule: HbaRule, facts: ClientFacts, questions: RuleQuestions): Promise<boolean> {
  const { database, user } = facts;
  for (const token of rule.databases) {
    if (facts.replication === 'physical') {
      if (isKeyword(token, 'replication')) return true;
    } else if (isKeyword(token, 'all')) return true;
    else if (isKeyword(token, 'sameuser')) {
      if (database === user) return true;
    } else if (isKeyword(token, 'samerole') || isKeyword(token, 'samegroup')) {
      if ((await questions.memberOf()).has(database)) return true;
    } else if (isKeyword(token, 'replication')) continue;
    else if (token.pattern === null ? token.text === database : token.pattern.test(database)) return true;
  }
  return false;
}
