import { badRequest } from "../../../api-error.ts";

/** One field of a message as it stands on the wire. */
export type WireField =
  | { readonly number: number; readonly is: "varint"; readonly value: bigint }
  | { readonly number: number; readonly is: "fixed"; readonly bytes: Uint8Array }
  | { readonly number: number; readonly is: "bytes"; readonly bytes: Uint8Array };

const malformed = (why: string): Error => badRequest(`cannot read the protobuf body: ${why}`);

/** The fields of a message, in the order of the wire. @throws ApiError 400 for anything malformed. */
export function readFields(message: Uint8Array): readonly WireField[] {
  const fields: WireField[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[at];
      if (byte === undefined) throw malformed("it ends within a number");
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw malformed("a number is longer than ten bytes");
  };
  const take = (length: number): Uint8Array => {
    if (length > message.length - at) throw malformed("it ends within a field");
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const tag = Number(varint());
    const number = Math.floor(tag / 8);
    if (number === 0) throw malformed("field number 0");
    switch (tag % 8) {
      case 0:
        fields.push({ number, is: "varint", value: varint() });
        break;
      case 1:
        fields.push({ number, is: "fixed", bytes: take(8) });
        break;
      case 2:
        fields.push({ number, is: "bytes", bytes: take(Number(varint())) });
        break;
      case 5:
        fields.push({ number, is: "fixed", bytes: take(4) });
        break;
      default:
        throw malformed(`wire type ${tag % 8} is not known`);
    }
  }
  return fields;
}

/** The last bytes field of a number, as protobuf takes repeats of a single field. */
export function lastBytes(fields: readonly WireField[], number: number): Uint8Array | undefined {
  const field = fields.findLast((each) => each.number === number);
  return field?.is === "bytes" ? field.bytes : undefined;
}

export function lastVarint(fields: readonly WireField[], number: number): bigint | undefined {
  const field = fields.findLast((each) => each.number === number);
  return field?.is === "varint" ? field.value : undefined;
}

export function utf8(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : new TextDecoder().decode(bytes);
}
