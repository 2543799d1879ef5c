import { LeaseholdError } from '../../common/errors.ts';

/** Why an operator's request was not carried out. `status` is HTTP's: 400 wrong, 404 no such node, 409 not now, 502 and 503 the other side. */
export class ActionRefused extends LeaseholdError {
  readonly status: 400 | 404 | 409 | 502 | 503;

  constructor(status: ActionRefused['status'], message: string, cause?: unknown) {
    super('ACTION_REFUSED', message, cause);
    this.status = status;
  }
}
