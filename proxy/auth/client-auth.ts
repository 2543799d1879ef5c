import { ClientError } from '../../common/errors.ts';
import { md5Login, passwordLogin, scramLogin } from './client-methods.ts';
import type { Connection } from './connection.ts';
import type { AuthPolicy, AuthRule, ClientFacts, RuleQuestions } from './policy.ts';
import type { Credentials, RoleFacts, VerifierSource } from './types.ts';

export interface ClientAuthOptions {
  readonly policy: AuthPolicy;
  readonly verifiers: VerifierSource;
  readonly mockSecret: Buffer;
  /** Of the client's address. */
  readonly hasHostName: RuleQuestions['hasHostName'];
  readonly signal: AbortSignal;
}

/**
 * Finds the rule for a client and has it prove who it is. AuthenticationOk is the caller's to send. Throws ClientError with
 * PostgreSQL's codes and words: 28000 where the client may not come in so, 28P01 where its password is wrong.
 */
export async function authenticateClient(
  connection: Connection,
  facts: ClientFacts,
  options: ClientAuthOptions,
): Promise<Credentials> {
  const { policy, verifiers, signal, mockSecret } = options;
  const { user } = facts;
  let role: Promise<RoleFacts | null> | null = null;
  const roleOnce = (): Promise<RoleFacts | null> => (role ??= verifiers.role(user, signal));
  const questions: RuleQuestions = {
    memberOf: async () => (await roleOnce())?.memberOf ?? new Set(),
    hasHostName: options.hasHostName,
  };
  const rule = await policy.ruleFor(facts, questions);
  if (rule === null || rule.method === 'reject') throw notAllowed(facts, rule !== null);
  checkCertificate(connection, rule);
  if (rule.method === 'trust' || rule.method === 'cert') {
    checkRole(await roleOnce(), user);
    if (rule.method === 'cert' && !(await certificateNames(connection, rule, user, policy, questions))) {
      throw refused(`certificate authentication failed for user "${user}"`);
    }
    return withoutProof(rule.method, user, options);
  }
  const known = await verifiers.lookup(user, signal);
  const credentials =
    rule.method === 'password'
      ? await passwordLogin(connection, user, known, mockSecret)
      : rule.method === 'md5' && known !== null && !('storedKey' in known)
        ? await md5Login(connection, user, known)
        : await scramLogin(connection, user, known, mockSecret);
  if (rule.clientCert === 'verify-full' && !(await certificateNames(connection, rule, user, policy, questions))) {
    throw refused(`certificate authentication failed for user "${user}"`);
  }
  return credentials;
}

/** A certificate that nobody vouches for is refused even where none is needed, as PostgreSQL does. */
function checkCertificate({ certificate }: Connection, rule: AuthRule): void {
  if (certificate.kind === 'invalid') {
    throw new ClientError({
      sqlState: '28000',
      severity: 'FATAL',
      message: 'the client certificate is not valid',
      detail: certificate.reason,
      hint: 'It must be signed by an authority of proxy.tls.clientCaFile.',
    });
  }
  if (rule.clientCert !== 'off' && certificate.kind !== 'valid') {
    throw refused('connection requires a valid client certificate');
  }
}

async function certificateNames(
  { certificate }: Connection,
  rule: AuthRule,
  user: string,
  policy: AuthPolicy,
  questions: RuleQuestions,
): Promise<boolean> {
  if (certificate.kind !== 'valid') return false;
  const { commonName, distinguishedName } = certificate.subject;
  const name = rule.clientName === 'DN' ? distinguishedName : commonName;
  return name !== null && name !== '' && (await policy.allows(rule.map, name, user, questions));
}

/** With SCRAM the server’s answer about a role is that of a wrong password; here nothing is secret. */
function checkRole(role: RoleFacts | null, user: string): void {
  if (role === null) throw refused(`role "${user}" does not exist`);
  if (!role.canLogin) throw refused(`role "${user}" is not permitted to log in`);
}

/** What the client has not given, the configuration or pg_authid may have. */
async function withoutProof(method: string, user: string, options: ClientAuthOptions): Promise<Credentials> {
  const password = options.policy.passwordOf(user);
  if (password !== null) return { kind: 'password', password };
  const known = await options.verifiers.lookup(user, options.signal);
  if (known !== null && !('storedKey' in known)) return known;
  return { kind: 'none', method };
}

function notAllowed(facts: ClientFacts, byRule: boolean): ClientError {
  const host = facts.local ? '[local]' : (facts.address ?? '???');
  const encryption = facts.encrypted ? 'SSL encryption' : 'no encryption';
  const database = facts.replication === 'physical' ? '' : `, database "${facts.database}"`;
  const replication = facts.replication === 'physical' ? 'replication ' : '';
  if (byRule) {
    return refused(
      `pg_hba.conf rejects ${replication}connection for host "${host}", user "${facts.user}"${database}, ${encryption}`,
    );
  }
  const from = replication === '' ? 'host' : 'replication connection from host';
  return refused(`no pg_hba.conf entry for ${from} "${host}", user "${facts.user}"${database}, ${encryption}`);
}

function refused(message: string): ClientError {
  return new ClientError({ sqlState: '28000', severity: 'FATAL', message });
}
