/** A message with its length before it, as TCP carries it (RFC 1035 §4.2.2). */
export function withLength(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** Puts messages together from pieces of a stream; what is kept is never longer than one message. */
export function messageReader(got: (message: Buffer) => void): (piece: Buffer) => void {
  let kept = Buffer.alloc(0);
  return (piece) => {
    kept = Buffer.concat([kept, piece]);
    while (kept.length >= 2) {
      const end = 2 + kept.readUInt16BE(0);
      if (kept.length < end) return;
      got(kept.subarray(2, end));
      kept = kept.subarray(end);
    }
  };
}
