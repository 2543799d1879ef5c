/** How long a closing client may take to read its last message. */
export const TERMINATE_LIMIT_MS = 2_000;
/** The proxy's own questions to a server (settings, pins). */
export const INTERNAL_TIMEOUT_MS = 10_000;
/** After a leader refused a connection: so long until the next attempt. */
export const LEADER_RETRY_MS = 40;
/** So long is somebody looked for who can tell whether the leader shows what a lost follower has shown. */
export const SETTLE_LOST_MS = 1_000;
/** A node that leads lets clients in within this; a refusal that lasts longer is a fault of pg_hba.conf. */
export const FENCE_LIMIT_MS = 5_000;
/** Input that may wait while a session is busy; beyond it the client's socket is not read. */
export const MAX_WAITING_BYTES = 64 * 1024;
