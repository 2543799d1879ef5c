/** Type bytes of a server's messages. https://www.postgresql.org/docs/current/protocol-message-formats.html */
export const PARAMETER_STATUS = 0x53;
export const NOTICE = 0x4e;
export const NOTIFICATION = 0x41;
export const COMMAND_COMPLETE = 0x43;
export const ERROR = 0x45;
export const READY = 0x5a;
