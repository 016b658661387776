import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { constants, gunzipSync } from "node:zlib";
import protobuf from "protobufjs/light.js";
import descriptors from "protobufjs/google/protobuf/descriptor.json" with { type: "json" };
import t from "tap";
import { decodeMessage, encodeMessage, messageTable, wireLong } from "./messages.ts";
import { prefixRange } from "./model.ts";

const program = "/usr/bin/etcd";

t.test(
  "every field has the type and number that etcd itself uses",
  { skip: !existsSync(program) && `needs ${program}: apt install etcd-server` },
  async (t) => {
    const real = fieldsOf(await readFile(program), ["rpc.proto", "kv.proto"]);
    for (const [message, fields] of Object.entries(messageTable)) {
      t.ok(real.has(message), `etcd has a message ${message}`);
      for (const [field, text] of Object.entries(fields)) {
        t.equal(text, real.get(message)?.get(field), `${message}.${field}`);
      }
    }
  },
);

t.test("64-bit integers pass the wire unharmed", async (t) => {
  for (const value of [0n, 1n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
    const bytes = encodeMessage("LeaseRevokeRequest", { ID: wireLong(value) });
    t.equal(decodeMessage("LeaseRevokeRequest", bytes)["ID"], value);
  }
});

t.test("a prefix ends where the next key that lacks it begins", async (t) => {
  t.equal(Buffer.from(prefixRange("/a/").end).toString(), "/a0");
  t.same(Buffer.from(prefixRange("é").end), Buffer.from([0xc3, 0xaa]));
  t.equal(prefixRange("").end, "\0");
  t.equal(prefixRange("").key, "\0");
});

/** Message -> field -> `repeated KeyValue 2`, from the compressed descriptors that a Go program carries. */
function fieldsOf(bytes: Buffer, files: readonly string[]): Map<string, Map<string, string>> {
  const type = protobuf.Root.fromJSON(descriptors).lookupType("google.protobuf.FileDescriptorProto");
  const found = new Map<string, Map<string, string>>();
  const magic = Buffer.from([0x1f, 0x8b, 0x08]);
  for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    const text = tryGunzip(bytes.subarray(at, at + 200_000));
    const name = text?.subarray(2, 2 + (text[1] ?? 0)).toString("latin1") ?? "";
    if (text === undefined || !files.includes(name)) continue;
    const file: FileDescriptor = type.toObject(type.decode(text), { enums: String }) as FileDescriptor;
    for (const message of file.messageType) {
      const fields = (message.field ?? []).map((field) => {
        const plain = field.type.replace("TYPE_", "").toLowerCase();
        const word = plain === "message" ? (field.typeName?.split(".").at(-1) ?? "") : plain;
        const rule = field.label === "LABEL_REPEATED" ? "repeated " : "";
        return [field.name, `${rule}${word} ${field.number}`] as const;
      });
      found.set(message.name, new Map(fields));
    }
  }
  return found;
}

interface FileDescriptor {
  readonly messageType: readonly {
    readonly name: string;
    readonly field?: readonly {
      readonly name: string;
      readonly number: number;
      readonly type: string;
      readonly typeName?: string;
      readonly label: string;
    }[];
  }[];
}

function tryGunzip(bytes: Buffer): Buffer | undefined {
  try {
    // The member ends somewhere inside the slice; what follows it is not ours.
    return gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH });
  } catch {
    return undefined;
  }
}
