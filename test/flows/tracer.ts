import { parseSave, type SavedTable } from "#linux/iptables-save.ts";
import { isInCidr } from "../../proxy/plan/cidr.ts";

/** A packet that opens a flow. */
export interface Packet {
  readonly protocol: string;
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  /** It starts on the node itself. */
  readonly fromNode: boolean;
}

/** What becomes of it: where it is delivered (and whether the source is masked), or how it ends. */
export type Outcome = `to ${string}` | `masqueraded to ${string}` | "refused" | "dropped" | "untouched";

interface State {
  readonly destination: string;
  readonly port: number;
  readonly translated: boolean;
  readonly mark: number;
}

type Verdict = { readonly state: State; readonly end?: "ACCEPT" | "DROP" | "REJECT" | "RETURN" };

/** Every outcome a packet may have under a rule set: a draw of lots is followed both ways. */
export function trace(script: string, packet: Packet, localIps: readonly string[]): ReadonlySet<Outcome> {
  const tables = parseScript(script);
  const start: State = { destination: packet.destination, port: packet.port, translated: false, mark: 0 };
  const isLocal = (ip: string): boolean => ip.startsWith("127.") || localIps.includes(ip);
  const through = (table: string, chain: string, states: readonly Verdict[]): Verdict[] =>
    states.flatMap((before) =>
      before.end === "DROP" || before.end === "REJECT"
        ? [before]
        : walk(tables.get(table), chain, before.state, packet, isLocal),
    );
  let states: Verdict[] = through("nat", packet.fromNode ? "OUTPUT" : "PREROUTING", [{ state: start }]);
  states = states.flatMap((verdict) => {
    const chain = packet.fromNode ? "OUTPUT" : isLocal(verdict.state.destination) ? "INPUT" : "FORWARD";
    return through("filter", chain, [verdict]);
  });
  states = states.flatMap((verdict) =>
    through("nat", "POSTROUTING", [verdict]).map((after) => ({
      ...after,
      state: { ...after.state, mark: verdict.state.mark },
    })),
  );
  return new Set(states.map(outcome));
}

function outcome({ state, end }: Verdict): Outcome {
  if (end === "REJECT") return "refused";
  if (end === "DROP") return "dropped";
  if (!state.translated) return "untouched";
  return (state.mark & 0x4000) === 0 ? `to ${state.destination}` : `masqueraded to ${state.destination}`;
}

/** All ways through one chain from one state. */
function walk(
  table: SavedTable | undefined,
  chain: string,
  start: State,
  packet: Packet,
  isLocal: (ip: string) => boolean,
): Verdict[] {
  let open: State[] = [start];
  const ended: Verdict[] = [];
  for (const rule of table?.get(chain)?.rules ?? []) {
    const next: State[] = [];
    for (const state of open) {
      const match = matches(rule, state, packet, isLocal);
      if (match !== "yes") next.push(state);
      if (match === "no") continue;
      for (const verdict of act(table, rule, state, packet, isLocal)) {
        if (verdict.end === undefined) next.push(verdict.state);
        else ended.push(verdict);
      }
    }
    open = next;
  }
  return [...ended, ...open.map((state) => ({ state }))];
}

function act(
  table: SavedTable | undefined,
  rule: string,
  state: State,
  packet: Packet,
  isLocal: (ip: string) => boolean,
): Verdict[] {
  const target = / -j (\S+)/.exec(` ${rule}`)?.[1];
  if (target === undefined) return [{ state }];
  switch (target) {
    case "ACCEPT":
    case "DROP":
    case "REJECT":
    case "RETURN":
      return [{ state, end: target }];
    case "MASQUERADE":
      return [{ state, end: "ACCEPT" }];
    case "MARK": {
      const [, how = "", bits = "0"] = /--(or|xor)-mark (\S+)/.exec(rule) ?? [];
      return [
        { state: { ...state, mark: how === "or" ? state.mark | Number(bits) : state.mark ^ Number(bits) } },
      ];
    }
    case "DNAT": {
      const [, destination = "", port = ""] = /--to-destination ([\d.]+):(\d+)/.exec(rule) ?? [];
      return [{ state: { ...state, destination, port: Number(port), translated: true }, end: "ACCEPT" }];
    }
    default: {
      if (table?.get(target) === undefined) throw new Error(`"${rule}" jumps to a chain that is not there`);
      // RETURN ends the called chain only.
      return walk(table, target, state, packet, isLocal).map((verdict) =>
        verdict.end === "RETURN" ? { state: verdict.state } : verdict,
      );
    }
  }
}

/** `maybe`: a draw of lots, or something remembered that the tracer does not know. */
function matches(
  rule: string,
  state: State,
  packet: Packet,
  isLocal: (ip: string) => boolean,
): "yes" | "no" | "maybe" {
  const bare = ` ${rule.replace(/-m comment --comment ("[^"]*"|\S+)/g, "")}`;
  const test = (pattern: RegExp, holds: (value: string) => boolean): boolean => {
    const [, not, value] = pattern.exec(bare) ?? [];
    return value === undefined || holds(value) !== (not !== undefined);
  };
  const all =
    test(/( !)? -p (\S+)/, (value) => value === packet.protocol) &&
    test(/( !)? -s (\S+)/, (value) => isInCidr(packet.source, value)) &&
    test(/( !)? -d (\S+)/, (value) => isInCidr(state.destination, value)) &&
    test(/( !)? --dport (\S+)/, (value) => Number(value) === state.port) &&
    test(/( !)? --dst-type (\S+)/, () => isLocal(state.destination)) &&
    test(/( !)? --src-type (\S+)/, () => isLocal(packet.source)) &&
    test(
      /( !)? --mark (\S+)/,
      (value) => (state.mark & Number(value.split("/")[1] ?? "0xffffffff")) === Number(value.split("/")[0]),
    ) &&
    test(
      /( !)? --ctstate (\S+)/,
      (value) => value.split(",").includes("NEW") || (state.translated && value.split(",").includes("DNAT")),
    );
  if (!all) return "no";
  return /--probability|--rcheck/.test(bare) ? "maybe" : "yes";
}

/** A script as the kernel would hold it after it was run on empty tables. */
function parseScript(script: string): ReadonlyMap<string, SavedTable> {
  const builtIn = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]
    .map((chain) => `:${chain} ACCEPT [0:0]\n`)
    .join("");
  const tables = parseSave(script.replace(/^\*\w+\n/gm, (line) => line + builtIn));
  for (const [name, table] of tables) {
    const block = script.slice(script.indexOf(`*${name}\n`)).split("COMMIT")[0] ?? "";
    for (const [, chain = "", rule = ""] of block.matchAll(/^-I (\S+) 1 (.*)$/gm)) {
      const known = table.get(chain);
      if (known !== undefined)
        (table as Map<string, typeof known>).set(chain, { ...known, rules: [rule, ...known.rules] });
    }
  }
  return tables;
}
