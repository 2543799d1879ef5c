import type { DrillKind } from '../../common/config/drills.ts';
import { assertNever } from '../../common/never.ts';
import { checkGuards, GUARDS } from './guards.ts';
import type { DrillFacts, DrillPlan, DrillRequest, NodeFacts, Prediction } from './types.ts';

/** What the drill would do, what is expected of it, and what speaks against it. Pure. */
export function planDrill(request: DrillRequest, facts: DrillFacts): DrillPlan {
  const { kind, what, override } = request;
  const seconds = secondsOf(request, facts);
  const choice = chooseTarget(request, facts);
  const changesLeader = expectsNewLeader(kind, what, seconds, facts);
  const candidate = changesLeader ? (kind === 'switchover' ? (choice.targets[0] ?? null) : successor(facts)) : null;
  const wrong = choice.wrong ?? unknownOverrides(override);
  const target = { name: 'target', wrong, right: choice.target };
  const guards = checkGuards(kind, facts, target, seconds, override);
  return {
    kind,
    target: choice.target,
    targets: choice.targets,
    candidate,
    seconds,
    what,
    changesLeader,
    does: describe(request, choice.target, seconds, facts),
    expects: expectation(kind, changesLeader, what),
    predicted: predict(request, seconds, facts),
    guards,
    allowed: guards.every((guard) => guard.passed || guard.overridden),
  };
}

interface Choice {
  readonly target: string;
  readonly targets: readonly string[];
  readonly wrong: string | null;
}

function chooseTarget({ kind, target }: DrillRequest, facts: DrillFacts): Choice {
  const { leader, nodes, proxies, self } = facts;
  const followers = nodes.filter((node) => node.node !== leader && node.usable);
  const names = followers.map((node) => node.node).join(', ') || 'none';
  switch (kind) {
    case 'switchover': {
      const to = target ?? successor(facts);
      if (to === null) return none(`there is no follower to take over (usable: ${names})`);
      const known = followers.some((node) => node.node === to);
      return one(to, known ? null : `${to} is no follower that could take over; there are ${names}`);
    }
    case 'lag': {
      const wanted = target ?? followers[0]?.node ?? null;
      if (wanted === null) return none('there is no follower whose replay could be paused');
      const known = followers.some((node) => node.node === wanted);
      return one(wanted, known ? null : `${wanted} is no follower in step; there are ${names}`);
    }
    case 'proxy': {
      const others = proxies.filter((id) => id !== self);
      const list = others.join(', ') || 'none';
      if (target === self && others.length > 0) {
        return one(self, `${self} runs the drill and cannot leave: ask another proxy, or name one of ${list}`);
      }
      const wanted = target ?? others[0] ?? null;
      if (wanted === null) {
        return one(self, `${self} is the only proxy: its clients would have nowhere to go. Start a second one`);
      }
      return one(wanted, others.includes(wanted) ? null : `there is no other proxy ${wanted}; there are ${list}`);
    }
    case 'etcd':
      return { target: 'every agent', targets: nodes.map((node) => node.node), wrong: wrongTarget(target, kind) };
    case 'crash':
    case 'freeze':
    case 'partition':
      return leader === null ? none('the cluster has no leader') : one(leader, wrongTarget(target, kind, leader));
    default:
      return assertNever(kind, 'drill');
  }
}

function one(target: string, wrong: string | null): Choice {
  return { target, targets: [target], wrong };
}

function none(wrong: string): Choice {
  return { target: '(nobody)', targets: [], wrong };
}

/** These happen to the leader, or to all: a name that says otherwise is a mistake better told. */
function wrongTarget(target: string | null, kind: DrillKind, leader?: string): string | null {
  if (target === null || target === leader) return null;
  return `a ${kind} drill happens to ${leader === undefined ? 'all agents' : `the leader (${leader})`}, not to ${target}`;
}

function unknownOverrides(override: readonly string[]): string | null {
  const unknown = override.filter((name) => !Object.hasOwn(GUARDS, name));
  if (unknown.length === 0) return null;
  return `there is no guard ${unknown.join(', ')} to override; there are ${Object.keys(GUARDS).join(', ')}`;
}

/** As the election would: who has most, then priority, then the name. Positions move, so this is a guess. */
function successor({ nodes, leader, sync }: DrillFacts): string | null {
  const eligible = nodes.filter((node) => node.node !== leader && node.usable && !node.noFailover);
  const inSync = (node: NodeFacts) => Number(sync?.members.includes(node.node) ?? false);
  const [best] = eligible.toSorted(
    (a, b) => inSync(b) - inSync(a) || b.priority - a.priority || (a.node < b.node ? -1 : 1),
  );
  return best?.node ?? null;
}

function secondsOf({ kind, seconds }: DrillRequest, { ttlMs, limits }: DrillFacts): number | null {
  if (kind === 'switchover' || kind === 'crash') return null;
  if (seconds !== null) return seconds;
  // Longer than the lease: what is rehearsed is that it runs out.
  const beyondLease = Math.ceil(ttlMs / 1000) + 7;
  return Math.min(kind === 'lag' || kind === 'proxy' ? 10 : beyondLease, limits.maxSeconds);
}

function expectsNewLeader(kind: DrillKind, what: string, seconds: number | null, facts: DrillFacts): boolean {
  const { ttlMs, marginMs } = facts;
  const lastsMs = (seconds ?? 0) * 1000;
  switch (kind) {
    case 'switchover':
    case 'crash':
      return true;
    case 'freeze':
      return lastsMs > (what === 'agent' ? ttlMs - marginMs : ttlMs + 1000);
    case 'partition':
      return lastsMs > ttlMs;
    case 'etcd':
    case 'lag':
    case 'proxy':
      return false;
    default:
      return assertNever(kind, 'drill');
  }
}

function describe({ kind, what }: DrillRequest, target: string, seconds: number | null, facts: DrillFacts): string {
  switch (kind) {
    case 'switchover':
      return `hands leadership from ${facts.leader} to ${target} as planned`;
    case 'crash':
      return `kills PostgreSQL of ${target}, the leader (SIGKILL)`;
    case 'freeze':
      return `stops ${what === 'agent' ? 'the agent' : 'every process of PostgreSQL'} of ${target}, the leader, for ${seconds} s (SIGSTOP); ${what === 'agent' ? 'a helper process of the agent' : "the agent's own timer"} lets it go on`;
    case 'partition':
      return `makes the agent of ${target}, the leader, lose everything that it says to etcd and hears from it for ${seconds} s (a switch in the agent: PostgreSQL's own connections are not touched)`;
    case 'etcd':
      return `makes every agent lose etcd for ${seconds} s (a switch in the agents: etcd itself and the proxies' connections to it are not touched)`;
    case 'lag':
      return `pauses replay on ${target} for ${seconds} s; the server itself and its agent both see to it that it goes on`;
    case 'proxy':
      return `makes proxy ${target} end its clients' sessions between transactions and take none for ${seconds} s`;
    default:
      return assertNever(kind, 'drill');
  }
}

function expectation(kind: DrillKind, changesLeader: boolean, what: string): string {
  switch (kind) {
    case 'switchover':
      return 'writes are held for a moment; no client sees an error';
    case 'crash':
      return 'writes are held; transactions that were open get 40001, a write whose answer was lost gets 08007';
    case 'freeze':
      if (!changesLeader) return 'writes stand still and go on with the same leader';
      return what === 'agent'
        ? 'the watchdog kills PostgreSQL before the lease ends, and a follower takes over'
        : 'the agent gives up a PostgreSQL that answers nothing for a whole lease, and a follower takes over';
    case 'partition':
      return changesLeader
        ? 'the leader fences itself before its lease ends, a follower takes over, and the old leader rejoins'
        : 'the lease outlives the fault: nothing is to be seen';
    case 'etcd':
      return 'the leader fences itself before its lease ends; writes are held until etcd is back; reads go on where a follower is known to have what their session has seen';
    case 'lag':
      return 'reads that need newer data go to others; no session reads what is older than it has written or seen';
    case 'proxy':
      return 'clients get 57P01 between two transactions, and come back through another proxy';
    default:
      return assertNever(kind, 'drill');
  }
}

/** From what earlier drills of the kind measured; without any, from the settings. */
function predict({ kind, what }: DrillRequest, seconds: number | null, facts: DrillFacts): Prediction {
  const measured = facts.past
    .filter(
      (past) => past.kind === kind && past.seconds === seconds && past.what === what && past.writeStallMs !== null,
    )
    .map((past) => past.writeStallMs as number)
    .sort((a, b) => a - b);
  if (measured.length > 0) {
    const count = measured.length === 1 ? '1 past drill' : `${measured.length} past drills`;
    return { stallMs: measured[measured.length >> 1] as number, worstMs: measured.at(-1) as number, from: count };
  }
  return { stallMs: estimate(kind, what, (seconds ?? 0) * 1000, facts), worstMs: null, from: 'the settings' };
}

/** How long a promotion takes, with what follows it until the first write: ELECTION.md's figure for an idle machine. */
const PROMOTION_MS = 300;

function estimate(kind: DrillKind, what: string, lastsMs: number, { ttlMs, marginMs }: DrillFacts): number {
  switch (kind) {
    case 'switchover':
    case 'crash':
      return PROMOTION_MS;
    case 'freeze':
      if (what === 'agent') return lastsMs > ttlMs - marginMs ? ttlMs + PROMOTION_MS : 0;
      return Math.min(lastsMs, ttlMs + 1000 + PROMOTION_MS);
    case 'partition':
      return lastsMs > ttlMs - marginMs ? ttlMs + PROMOTION_MS : 0;
    case 'etcd':
      return Math.max(0, lastsMs - (ttlMs - marginMs)) + 1000;
    case 'lag':
      return 0;
    case 'proxy':
      return 100;
    default:
      return assertNever(kind, 'drill');
  }
}
