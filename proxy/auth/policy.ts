/** What rules are chosen by. */
export interface ClientFacts {
  /** Over a Unix socket. */
  readonly local: boolean;
  /** Of the client; null for a Unix socket. IPv4 in IPv6 is given as IPv4. */
  readonly address: string | null;
  readonly encrypted: boolean;
  readonly user: string;
  readonly database: string;
  readonly replication: 'off' | 'physical' | 'database';
}

export const METHODS = ['trust', 'reject', 'scram-sha-256', 'md5', 'password', 'cert'] as const;
export type AuthMethod = (typeof METHODS)[number];

/** How a client has to prove who it is. */
export interface AuthRule {
  readonly method: AuthMethod;
  /** Whether it needs a certificate, and whether that must name its user. */
  readonly clientCert: 'off' | 'verify-ca' | 'verify-full';
  /** Which part of the certificate's subject names the user. */
  readonly clientName: 'CN' | 'DN';
  /** The map of users in pg_ident.conf. */
  readonly map: string | null;
}

/** What rules ask about a client and its address, and only when they need it. */
export interface RuleQuestions {
  /** Every role that the user is, or is a member of. */
  memberOf(): Promise<ReadonlySet<string>>;
  /** Whether the client's address has this name; one that begins with a dot is the end of a name. */
  hasHostName(name: string): Promise<boolean>;
}

/** Who may log in from where, and how. Replaced as a whole by a reload. */
export interface AuthPolicy {
  /** The first rule that fits; null: none does. Throws as the questions do. */
  ruleFor(facts: ClientFacts, questions: RuleQuestions): Promise<AuthRule | null>;
  /** Whether a system user may be this role by a map of pg_ident.conf; without a map they must be equal. */
  allows(map: string | null, systemUser: string, user: string, questions: RuleQuestions): Promise<boolean>;
  /** Passwords of roles that log in to the proxy without a proof that servers take. */
  passwordOf(user: string): string | null;
}

const SCRAM_FOR_ALL: AuthRule = { method: 'scram-sha-256', clientCert: 'off', clientName: 'CN', map: null };

/** Where nothing is configured: everybody by SCRAM. */
export const DEFAULT_POLICY: AuthPolicy = {
  ruleFor: async () => SCRAM_FOR_ALL,
  allows: async (map, systemUser, user) => map === null && systemUser === user,
  passwordOf: () => null,
};
