/**
 * A copy in memory of its own. Small buffers of Node's are slices of slabs that they share (`Buffer.poolSize`, 64 KiB), and a slice
 * keeps its whole slab: what is kept for long must not be one. https://nodejs.org/api/buffer.html#static-method-bufferallocunsafeslowsize
 */
export function ownBytes(bytes: Buffer, length = bytes.length): Buffer {
  const own = Buffer.allocUnsafeSlow(length);
  bytes.copy(own, 0, 0, length);
  return own;
}
