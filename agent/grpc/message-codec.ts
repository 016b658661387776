import protobuf from "protobufjs/light.js";

/** Turns a message of a named type into bytes and back. Unknown fields are skipped, absent ones get defaults. */
export interface Codec {
  encode(type: string, message: object): Buffer;
  decode(type: string, bytes: Uint8Array): unknown;
}

/**
 * A codec for messages given as text: `name:number:type` per field, `[]` before a type is repeated, `<k,v>` is a map.
 * Names are the wire's in camel case. 64-bit numbers are JavaScript numbers: times lose a microsecond.
 */
export function messageCodec(messages: Readonly<Record<string, string>>): Codec {
  const root = protobuf.Root.fromJSON({
    nested: Object.fromEntries(
      Object.entries(messages).map(([name, fields]) => [flat(name), messageOf(fields)]),
    ),
  });
  const typeOf = (name: string): protobuf.Type => root.lookupType(flat(name));
  return {
    encode: (name, message) => {
      const type = typeOf(name);
      return Buffer.from(type.encode(type.fromObject({ ...message })).finish());
    },
    decode: (name, bytes) => {
      const type = typeOf(name);
      return type.toObject(type.decode(bytes), {
        longs: Number,
        defaults: true,
        arrays: true,
        objects: true,
      });
    },
  };
}

interface Field {
  readonly id: number;
  readonly type: string;
  readonly rule?: "repeated";
  readonly keyType?: string;
}

function messageOf(text: string): { fields: Record<string, Field> } {
  const fields: Record<string, Field> = {};
  for (const word of text.split(" ").filter((part) => part !== "")) {
    const [name = "", number = "", type = ""] = word.split(":");
    const id = Number(number);
    const map = /^<(\w+),(\w+)>$/.exec(type);
    if (map !== null) fields[name] = { id, keyType: map[1] ?? "", type: map[2] ?? "" };
    else if (type.startsWith("[]")) fields[name] = { id, rule: "repeated", type: flat(type.slice(2)) };
    else fields[name] = { id, type: flat(type) };
  }
  return { fields };
}

/** protobufjs reads a dot as a namespace; ours are one flat list. */
function flat(name: string): string {
  return name.replaceAll(".", "_");
}
