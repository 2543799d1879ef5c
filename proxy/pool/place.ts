import type { Term } from '../../common/lsn.ts';

export type BackendRole = 'leader' | 'follower';

export interface BackendPlace {
  readonly node: string;
  readonly host: string;
  readonly port: number;
  readonly role: BackendRole;
  /** Set for leader connections: they belong to one term (S5). */
  readonly term: Term | null;
}
