import { type Iptables, IptablesError } from "./iptables.ts";
import type { SavedTable } from "./iptables-save.ts";

const builtIn: Readonly<Record<string, readonly string[]>> = {
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
};

/** iptables in memory: keeps chains and rules, and refuses what the real one refuses, table by table. */
export class FakeIptables implements Iptables {
  readonly #tables = new Map<string, Map<string, string[]>>();
  /** Every script that was taken, oldest first. */
  readonly scripts: string[] = [];
  /** Set to make the next `restore` fail before anything is done. */
  failNext: string | undefined;

  constructor() {
    for (const [table, chains] of Object.entries(builtIn)) {
      this.#tables.set(table, new Map(chains.map((chain) => [chain, []])));
    }
  }

  /** The rules of a chain as they were given; undefined when there is no such chain. */
  rules(table: string, chain: string): readonly string[] | undefined {
    return this.#tables.get(table)?.get(chain);
  }

  chains(table: string): readonly string[] {
    return [...(this.#tables.get(table)?.keys() ?? [])];
  }

  /** What `iptables -F` and `-X` of another program do to a table. */
  flush(table: string): void {
    this.#tables.set(table, new Map((builtIn[table] ?? []).map((chain) => [chain, []])));
  }

  save(table: string): Promise<SavedTable> {
    const chains = this.#tables.get(table) ?? new Map<string, string[]>();
    return Promise.resolve(
      new Map(
        [...chains].map(([name, rules]) => [
          name,
          { policy: (builtIn[table] ?? []).includes(name) ? "ACCEPT" : "-", rules: [...rules] },
        ]),
      ),
    );
  }

  listChain(table: string, chain: string): Promise<readonly string[] | undefined> {
    return Promise.resolve(this.rules(table, chain));
  }

  async restore(script: string): Promise<void> {
    if (this.failNext !== undefined) {
      const why = this.failNext;
      this.failNext = undefined;
      throw new IptablesError("refused", why);
    }
    let name = "";
    let next = new Map<string, string[]>();
    for (const line of script.split("\n").filter((text) => text !== "" && !text.startsWith("#"))) {
      if (line.startsWith("*")) {
        name = line.slice(1);
        next = new Map([...(this.#tables.get(name) ?? [])].map(([chain, rules]) => [chain, [...rules]]));
      } else if (line === "COMMIT") {
        this.#checkTargets(name, next);
        this.#tables.set(name, next);
      } else applyLine(line, next);
    }
    this.scripts.push(script);
  }

  #checkTargets(table: string, chains: ReadonlyMap<string, readonly string[]>): void {
    const known = new Set([
      ...chains.keys(),
      "ACCEPT",
      "DROP",
      "RETURN",
      "REJECT",
      "MARK",
      "MASQUERADE",
      "DNAT",
      "REDIRECT",
    ]);
    for (const [chain, rules] of chains) {
      for (const rule of rules) {
        const target = / -j (\S+)/.exec(` ${rule}`)?.[1];
        if (target !== undefined && !known.has(target)) {
          throw new IptablesError(
            "refused",
            `cannot use table "${table}": chain "${chain}" jumps to "${target}", which is not there`,
          );
        }
      }
    }
  }
}

function applyLine(line: string, chains: Map<string, string[]>): void {
  if (line.startsWith(":")) {
    const [chain = ""] = line.slice(1).split(" ");
    chains.set(chain, []);
    return;
  }
  const [, command = "", chain = "", rest = ""] = /^-([AIDX]) (\S+) ?(.*)$/.exec(line) ?? [];
  const rules = chains.get(chain);
  if (rules === undefined) throw new IptablesError("refused", `cannot run "${line}": no chain "${chain}"`);
  if (command === "A") rules.push(rest);
  else if (command === "I") rules.unshift(rest.replace(/^1 /, ""));
  else if (command === "D") {
    const place = rules.indexOf(rest);
    if (place < 0) throw new IptablesError("refused", `cannot run "${line}": no such rule`);
    rules.splice(place, 1);
  } else if (command === "X") {
    const users = [...chains].filter(([, all]) => all.some((rule) => rule.endsWith(`-j ${chain}`)));
    if (rules.length > 0 || users.length > 0) {
      throw new IptablesError("refused", `cannot run "${line}": the chain is in use`);
    }
    chains.delete(chain);
  } else throw new IptablesError("refused", `cannot run "${line}": unknown command`);
}
