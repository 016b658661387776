import { existsSync, readFileSync } from "node:fs";
import { constants, gunzipSync } from "node:zlib";
import t from "tap";
import { criCodec } from "./codec.ts";
import { containerdMessages, criMessages, newerThanContainerd16 } from "./schema.ts";

const containerd = "/usr/bin/containerd";

t.test(
  "every field number is the one inside the containerd binary",
  { skip: !existsSync(containerd) && `needs ${containerd}` },
  async (t) => {
    const known = fieldsInBinary(readFileSync(containerd));
    t.ok(known.size > 300, `${known.size} fields found`);
    let checked = 0;
    for (const [message, text] of Object.entries({ ...criMessages, ...containerdMessages })) {
      const full = message.includes(".") ? message : `runtime.v1.${message}`;
      for (const word of text.split(" ").filter((part) => part !== "")) {
        const [field = "", number = ""] = word.split(":");
        if (newerThanContainerd16.includes(`${message}.${field}`) || message === "Any") continue;
        const wire = `${full}.${field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
        if (known.get(wire) !== Number(number))
          t.fail(`${wire} is ${known.get(wire)} in the binary, ${number} in the schema`);
        checked += 1;
      }
    }
    t.ok(checked > 200, `${checked} numbers checked`);
  },
);

t.test("a message comes back as it was sent, with defaults for what was not", async (t) => {
  const codec = criCodec();
  const bytes = codec.encode("ContainerConfig", {
    metadata: { name: "main", attempt: 2 },
    labels: { a: "b" },
    command: ["x"],
    linux: { resources: { memoryLimitInBytes: 2 ** 40 } },
  });
  t.match(codec.decode("ContainerConfig", bytes), {
    metadata: { name: "main", attempt: 2 },
    labels: { a: "b" },
    command: ["x"],
    args: [],
    tty: false,
    linux: { resources: { memoryLimitInBytes: 2 ** 40, cpuShares: 0 } },
  });
});

/** `package.Message.field` -> number, of every gzipped file descriptor in a Go binary. */
function fieldsInBinary(binary: Buffer): Map<string, number> {
  const found = new Map<string, number>();
  const magic = Buffer.from([0x1f, 0x8b, 8]);
  for (let at = binary.indexOf(magic); at >= 0; at = binary.indexOf(magic, at + 1)) {
    try {
      const plain = gunzipSync(binary.subarray(at, at + 400_000), { finishFlush: constants.Z_SYNC_FLUSH });
      const file = wireFields(plain);
      const name = text(file, 2);
      if (/^(runtime\.v1|containerd\.)/.test(name)) {
        for (const [, message] of file.filter(([number]) => number === 4)) addMessage(message, name, found);
      }
    } catch {
      // Not a descriptor.
    }
  }
  return found;
}

function addMessage(bytes: Buffer | number, scope: string, found: Map<string, number>): void {
  if (typeof bytes === "number") return;
  const message = wireFields(bytes);
  const name = `${scope}.${text(message, 1)}`;
  for (const [number, value] of message) {
    if (number === 3) addMessage(value, name, found);
    if (number !== 2 || typeof value === "number") continue;
    const field = wireFields(value);
    const id = field.find(([key]) => key === 3)?.[1];
    if (typeof id === "number") found.set(`${name}.${text(field, 1)}`, id);
  }
}

function wireFields(bytes: Buffer): [number, Buffer | number][] {
  const fields: [number, Buffer | number][] = [];
  let offset = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes.readUInt8(offset);
      offset += 1;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (offset < bytes.length) {
    const tag = varint();
    if (tag % 8 === 0) fields.push([tag >> 3, varint()]);
    else if (tag % 8 === 2) {
      const length = varint();
      fields.push([tag >> 3, bytes.subarray(offset, offset + length)]);
      offset += length;
    } else if (tag % 8 === 1) offset += 8;
    else if (tag % 8 === 5) offset += 4;
    else throw new Error("no protocol buffer");
  }
  return fields;
}

function text(fields: readonly [number, Buffer | number][], number: number): string {
  const value = fields.find(([key]) => key === number)?.[1];
  return Buffer.isBuffer(value) ? value.toString("utf8") : "";
}
