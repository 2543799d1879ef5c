import { ClientError } from '../../common/errors.ts';

/** `proxy.timeouts`, each in the words and with the SQLSTATE of PostgreSQL's own time-out of the same kind. */
export function queryTooLong(limitMs: number): ClientError {
  return new ClientError({
    sqlState: '57014',
    message: 'canceling statement due to the query time-out of the proxy',
    detail: `It ran for more than ${limitMs} ms (queryTimeoutMs).`,
  });
}

/** S7: a COMMIT that is not answered in time may be done, or be waiting for a follower. */
export function commitTooLong(limit: ClientError): ClientError {
  return new ClientError({
    sqlState: '08007',
    message: 'a time-out of the proxy ended while COMMIT was in flight: whether it took effect is unknown',
    detail: `${limit.detail ?? ''} The COMMIT was not cancelled.`,
    hint: 'Do not simply repeat the transaction: look first whether its effects are there.',
  });
}

/** The same for a write by itself whose server does not even obey a cancel. */
export function writeTooLong(limit: ClientError): ClientError {
  return new ClientError({
    sqlState: '08007',
    message:
      'a time-out of the proxy ended, and the server did not obey a cancel: whether the statement took effect is unknown',
    detail: limit.detail ?? '',
    hint: 'Do not simply repeat it: look first whether its effects are there.',
  });
}

export function transactionTooLong(limitMs: number): ClientError {
  return new ClientError({
    sqlState: '25P04',
    severity: 'FATAL',
    message: 'terminating connection due to transaction timeout',
    detail: `The transaction lasted for more than ${limitMs} ms (transactionTimeoutMs), and was rolled back.`,
  });
}

export function idleInTransactionTooLong(limitMs: number): ClientError {
  return new ClientError({
    sqlState: '25P03',
    severity: 'FATAL',
    message: 'terminating connection due to idle-in-transaction timeout',
    detail: `Its client did nothing for ${limitMs} ms (idleTransactionTimeoutMs); the transaction was rolled back.`,
  });
}

export function clientIdleTooLong(limitMs: number): ClientError {
  return new ClientError({
    sqlState: '57P05',
    severity: 'FATAL',
    message: 'terminating connection due to idle-session timeout',
    detail: `Its client did nothing for ${limitMs} ms (clientIdleTimeoutMs).`,
  });
}
