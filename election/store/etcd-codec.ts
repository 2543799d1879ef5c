import type { IKeyValue, IRangeResponse, IRequestOp, ITxnRequest, ITxnResponse } from 'etcd3';
import { assertNever } from '../../common/never.ts';
import type { LeaseId, Operation, StoreKey, StoreSnapshot, Transaction, TransactionResult } from './port.ts';

/**
 * Between the port's plain data and etcd's messages (https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/).
 * 64-bit numbers arrive as decimal text. Lease ids use all 64 bits and stay text; revisions become numbers.
 */
export function encodeTransaction(transaction: Transaction): ITxnRequest {
  return {
    compare: transaction.compare.map((comparison) => {
      const key = Buffer.from(comparison.key);
      return comparison.type === 'create-revision'
        ? { result: 'Equal', target: 'Create', key, create_revision: comparison.equals }
        : { result: 'Equal', target: 'Mod', key, mod_revision: comparison.equals };
    }),
    success: transaction.then.map(encodeOperation),
    failure: (transaction.otherwise ?? []).map(encodeOperation),
  };
}

export function decodeTransaction(transaction: Transaction, response: ITxnResponse): TransactionResult {
  const ran = response.succeeded ? transaction.then : (transaction.otherwise ?? []);
  const gets: (StoreKey | null)[] = [];
  ran.forEach((operation, index) => {
    if (operation.type !== 'get') return;
    const kv = response.responses[index]?.response_range.kvs[0];
    gets.push(kv === undefined ? null : decodeKey(kv));
  });
  return { succeeded: response.succeeded, revision: Number(response.header.revision), gets };
}

export function decodeRange(response: IRangeResponse): StoreSnapshot {
  const keys = new Map<string, StoreKey>();
  for (const kv of response.kvs) {
    const key = decodeKey(kv);
    keys.set(key.key, key);
  }
  return { revision: Number(response.header.revision), keys };
}

export function decodeKey(kv: IKeyValue): StoreKey {
  return {
    key: kv.key.toString('utf8'),
    value: kv.value.toString('utf8'),
    createRevision: Number(kv.create_revision),
    modRevision: Number(kv.mod_revision),
    lease: kv.lease === '0' ? null : (kv.lease as LeaseId),
  };
}

/** The first key after all those that start with the prefix. Keys are ASCII, so the last byte can always be raised. */
export function prefixRange(prefix: string): { key: Buffer; range_end: Buffer } {
  const end = Buffer.from(prefix);
  const last = end.length - 1;
  end.writeUInt8(end.readUInt8(last) + 1, last);
  return { key: Buffer.from(prefix), range_end: end };
}

function encodeOperation(operation: Operation): IRequestOp {
  switch (operation.type) {
    case 'put':
      return {
        request_put: {
          key: Buffer.from(operation.key),
          value: Buffer.from(operation.value),
          ...(operation.lease === undefined ? {} : { lease: operation.lease }),
        },
      };
    case 'delete':
      return { request_delete_range: { key: Buffer.from(operation.key) } };
    case 'get':
      return { request_range: { key: Buffer.from(operation.key) } };
    default:
      return assertNever(operation, 'store operation');
  }
}
