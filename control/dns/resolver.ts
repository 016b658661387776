import dnsPacket, { type Answer, type DecodedPacket } from "dns-packet";
import type { Forwarder } from "./forward.ts";
import { answer, type DnsAnswer, type DnsRecord, type DnsView, soa, ttlSeconds } from "./plan/answer.ts";

/** Response codes (RFC 1035 §4.1.1). */
const formatError = 1;
const serverFailure = 2;
const noName = 3;
const notImplemented = 4;
/** An alias that leads to an alias, and so on, ends after so many steps. */
const aliasLimit = 8;
/** What a client without EDNS takes over UDP, in bytes. */
const plainUdpBytes = 512;
/** What we send over UDP at most: never in pieces on any common link (DNS flag day 2020). */
const maxUdpBytes = 1_232;

/** Answers messages: the cluster's names from the view, all others through the forwarder. */
export class Resolver {
  readonly #view: DnsView;
  readonly #forwarder: Forwarder;
  #turn = 0;

  constructor(view: DnsView, forwarder: Forwarder) {
    this.#view = view;
    this.#forwarder = forwarder;
  }

  /** @returns the answer's bytes, or undefined for what deserves none (an answer, or half a header). */
  async resolve(message: Buffer, over: "udp" | "tcp", signal: AbortSignal): Promise<Buffer | undefined> {
    if (message.length < 12 || (message.readUInt8(2) & 0x80) !== 0) return undefined;
    const id = message.readUInt16BE(0);
    if (((message.readUInt8(2) >> 3) & 0xf) !== 0) return failure(id, notImplemented);
    let query: DecodedPacket;
    try {
      query = dnsPacket.decode(message);
    } catch {
      return failure(id, formatError);
    }
    const [question, ...more] = query.questions ?? [];
    if (question === undefined || more.length > 0) return failure(id, formatError);
    const found = answer(question, this.#view);
    if (found.state === "foreign") {
      return (
        (await this.#forwarder.ask(message, over, signal)) ??
        this.#reply(query, [], [], serverFailure, false, over)
      );
    }
    if (found.state === "alias") return await this.#follow(query, found, over, signal);
    return this.#render(query, found, over);
  }

  #render(
    query: DecodedPacket,
    found: Exclude<DnsAnswer, { state: "foreign" | "alias" }>,
    over: "udp" | "tcp",
  ): Buffer {
    if (found.state === "found") {
      const records = this.#rotate(found.records);
      return this.#reply(query, records.map(wire), found.additional.map(wire), 0, true, over);
    }
    return this.#nothing(query, [], found.state === "no-name" ? noName : 0, over);
  }

  /** The alias, and what it leads to: within the cluster, or asked of others. */
  async #follow(
    query: DecodedPacket,
    first: Extract<DnsAnswer, { state: "alias" }>,
    over: "udp" | "tcp",
    signal: AbortSignal,
  ): Promise<Buffer> {
    const type = query.questions?.[0]?.type ?? "A";
    const chain: DnsRecord[] = [first.record];
    if (type === "CNAME") return this.#reply(query, chain.map(wire), [], 0, true, over);
    let { target } = first;
    for (let step = 0; step < aliasLimit; step += 1) {
      const next = answer({ name: target, type }, this.#view);
      if (next.state === "alias") {
        chain.push(next.record);
        target = next.target;
        continue;
      }
      if (next.state === "foreign") {
        const records = await this.#askForeign(target, type, signal);
        return records === undefined
          ? this.#reply(query, chain.map(wire), [], serverFailure, true, over)
          : this.#reply(query, [...chain.map(wire), ...records], [], 0, true, over);
      }
      if (next.state !== "found") return this.#nothing(query, chain, 0, over);
      return this.#reply(query, [...chain, ...next.records].map(wire), [], 0, true, over);
    }
    return this.#reply(query, chain.map(wire), [], serverFailure, true, over);
  }

  async #askForeign(
    name: string,
    type: NonNullable<DecodedPacket["questions"]>[number]["type"],
    signal: AbortSignal,
  ): Promise<readonly Answer[] | undefined> {
    const query = dnsPacket.encode({
      type: "query",
      id: 0,
      flags: dnsPacket.RECURSION_DESIRED,
      questions: [{ name, type }],
    });
    const answered = await this.#forwarder.ask(query, "udp", signal);
    if (answered === undefined) return undefined;
    try {
      return dnsPacket.decode(answered).answers ?? [];
    } catch {
      return undefined;
    }
  }

  #nothing(query: DecodedPacket, records: readonly DnsRecord[], code: number, over: "udp" | "tcp"): Buffer {
    const { zone } = this.#view;
    const authority = wire({ type: "SOA", name: zone, data: soa(zone) });
    return encode(
      query,
      { answers: records.map(wire), authorities: [authority], code, authoritative: true },
      over,
    );
  }

  #reply(
    query: DecodedPacket,
    answers: readonly Answer[],
    additionals: readonly Answer[],
    code: number,
    authoritative: boolean,
    over: "udp" | "tcp",
  ): Buffer {
    return encode(query, { answers, additionals, code, authoritative }, over);
  }

  /** Each answer begins with another record: clients that take the first one share the load. */
  #rotate<T>(records: readonly T[]): readonly T[] {
    if (records.length < 2) return records;
    this.#turn = (this.#turn + 1) % 1_000_000;
    const at = this.#turn % records.length;
    return [...records.slice(at), ...records.slice(0, at)];
  }
}

interface Parts {
  readonly answers: readonly Answer[];
  readonly authorities?: readonly Answer[];
  readonly additionals?: readonly Answer[];
  readonly code: number;
  readonly authoritative: boolean;
}

function encode(query: DecodedPacket, parts: Parts, over: "udp" | "tcp"): Buffer {
  const edns = (query.additionals ?? []).find((one) => one.type === "OPT");
  const asked = edns !== undefined && "udpPayloadSize" in edns ? Number(edns.udpPayloadSize) : plainUdpBytes;
  const limit = over === "tcp" ? 65_535 : Math.max(plainUdpBytes, Math.min(asked, maxUdpBytes));
  const opt: Answer[] =
    edns === undefined
      ? []
      : [
          {
            type: "OPT",
            name: ".",
            udpPayloadSize: maxUdpBytes,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ];
  const flags =
    parts.code |
    ((query.flags ?? 0) & dnsPacket.RECURSION_DESIRED) |
    dnsPacket.RECURSION_AVAILABLE |
    (parts.authoritative ? dnsPacket.AUTHORITATIVE_ANSWER : 0);
  const make = (answers: readonly Answer[], additionals: readonly Answer[], cut: boolean): Buffer =>
    dnsPacket.encode({
      type: "response",
      id: query.id ?? 0,
      flags: cut ? flags | dnsPacket.TRUNCATED_RESPONSE : flags,
      questions: [...(query.questions ?? [])],
      answers: [...answers],
      authorities: [...(parts.authorities ?? [])],
      additionals: [...additionals, ...opt],
    });
  const whole = make(parts.answers, parts.additionals ?? [], false);
  if (whole.length <= limit) return whole;
  // The additional records are a courtesy; the answers are what the client comes back over TCP for.
  const bare = make(parts.answers, [], false);
  if (bare.length <= limit) return bare;
  for (let count = Math.floor(parts.answers.length / 2); count > 0; count = Math.floor(count / 2)) {
    const part = make(parts.answers.slice(0, count), [], true);
    if (part.length <= limit) return part;
  }
  return make([], [], true);
}

function wire(record: DnsRecord): Answer {
  if (record.type === "TXT") return { ...record, ttl: ttlSeconds, data: [...record.data] };
  return { ...record, ttl: ttlSeconds };
}

/** A header with a code, for messages that cannot be read any further. */
function failure(id: number, code: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x8000 | code, 2);
  return header;
}
