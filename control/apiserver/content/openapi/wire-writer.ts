function varint(value: number): readonly number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  return [...bytes, rest];
}

const empty = new Uint8Array();

/** A length-delimited protobuf field: an inner message made of its encoded fields. */
export function bytesField(number: number, fields: readonly Uint8Array[]): Uint8Array {
  const length = fields.reduce((sum, each) => sum + each.length, 0);
  return Buffer.concat([Uint8Array.from([...varint(number * 8 + 2), ...varint(length)]), ...fields]);
}

/** A text field; nothing for "", as proto3 writes it. */
export const textField = (number: number, text: string): Uint8Array =>
  text === "" ? empty : bytesField(number, [Buffer.from(text)]);

/** A bool field; nothing for false. */
export const truthField = (number: number, value: boolean): Uint8Array =>
  value ? Uint8Array.from([...varint(number * 8), 1]) : empty;
