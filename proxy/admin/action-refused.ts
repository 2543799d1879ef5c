import { LeaseholdError, StoreError } from '../../common/errors.ts';

/** Why an operator's request was not carried out. `status` is HTTP's: 400 wrong, 404 no such node, 409 not now, 502 and 503 the other side. */
export class ActionRefused extends LeaseholdError {
  readonly status: 400 | 404 | 409 | 502 | 503;

  constructor(status: ActionRefused['status'], message: string, cause?: unknown) {
    super('ACTION_REFUSED', message, cause);
    this.status = status;
  }
}

/** The answer of etcd, whose silence is no fault of whoever asks: 503. */
export async function asking<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof StoreError) throw new ActionRefused(503, `etcd: ${error.message}`, error);
    throw error;
  }
}
