import { type AddressInfo, connect, createServer } from 'node:net';

/** Passes on so many connections to the port, and leaves those after them without a word. */
export async function relayTo(target: number, passed: number): Promise<AsyncDisposable & { readonly port: number }> {
  let seen = 0;
  const relay = createServer((socket) => {
    socket.on('error', () => undefined);
    if (++seen > passed) return;
    const onward = connect(target, '127.0.0.1').on('error', () => undefined);
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  const { port } = relay.address() as AddressInfo;
  return { port, [Symbol.asyncDispose]: async () => void relay.close() };
}
