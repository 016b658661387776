import type { BaseRules, Jump, OwnedRules, SharedRule, Table } from "./owned-rules.ts";

/** What the kernel has, as far as a full write must know: table -> chain -> rules as listed. */
export type ActualTables = ReadonlyMap<Table, ReadonlyMap<string, readonly string[]>>;

/** filter first: what gets refused is refused before nat stops sending it, and a new refusal precedes the gap. */
const order: readonly Table[] = ["mangle", "filter", "nat"];

/**
 * One script that brings the kernel from anything to exactly this.
 * @param isOurs tells a chain that may be removed when nothing here names it.
 */
export function fullScript(
  base: BaseRules,
  owned: Iterable<OwnedRules>,
  actual: ActualTables,
  isOurs: (chain: string) => boolean,
): string {
  const all = [...owned];
  const shared = groupShared(all.flatMap((rules) => rules.shared));
  return order
    .map((table) => {
      const here = actual.get(table) ?? new Map<string, readonly string[]>();
      const script = new TableScript(table);
      for (const { chain, rules } of base.chains.filter((item) => item.table === table)) {
        script.chain(chain, [...(shared.get(`${table} ${chain}`) ?? []), ...rules]);
      }
      if (table === "nat") {
        for (const rules of all) for (const [chain, lines] of rules.chains) script.chain(chain, lines);
      }
      for (const kept of base.kept.filter((item) => item.table === table)) {
        const known = here.get(kept.chain);
        if (known === undefined) script.header(kept.chain);
        for (const { rule, comment } of kept.rules) {
          if (!(known ?? []).some((line) => line.includes(comment))) script.line(`-A ${kept.chain} ${rule}`);
        }
      }
      for (const jump of base.jumps.filter((item) => item.table === table)) {
        if (!hasJump(here.get(jump.from) ?? [], jump)) script.line(jumpLine(jump));
      }
      const gone = (chain: string): boolean => isOurs(chain) && !script.has(chain);
      const stale = [...here.keys()].filter(gone);
      removeJumps(here, script, new Set(stale));
      for (const chain of stale) script.remove(chain);
      return script.render();
    })
    .join("");
}

/**
 * The script for what changed between two states of some ports; "" when nothing did. Its size depends on the
 * change alone: shared chains get single rules in front (their last rule stays last) and lose single rules.
 */
export function diffScript(
  changes: Iterable<{ readonly before: OwnedRules; readonly after: OwnedRules }>,
): string {
  const scripts = new Map<Table, TableScript>(order.map((table) => [table, new TableScript(table)]));
  const get = (table: Table): TableScript => {
    const script = scripts.get(table) ?? new TableScript(table);
    scripts.set(table, script);
    return script;
  };
  for (const { before, after } of changes) {
    const nat = get("nat");
    for (const [chain, rules] of after.chains) {
      if (!sameLines(before.chains.get(chain), rules)) nat.chain(chain, rules);
    }
    const had = new Map(before.shared.map((rule) => [sharedKey(rule), rule]));
    const has = new Map(after.shared.map((rule) => [sharedKey(rule), rule]));
    for (const [key, { table, chain, rule }] of has)
      if (!had.has(key)) get(table).line(`-I ${chain} 1 ${rule}`);
    for (const [key, { table, chain, rule }] of had)
      if (!has.has(key)) get(table).line(`-D ${chain} ${rule}`);
    for (const chain of before.chains.keys()) if (!after.chains.has(chain)) nat.remove(chain);
  }
  return order.map((table) => get(table).render()).join("");
}

/** True when a listing of the jump's chain has the jump in it. */
export function hasJump(rules: readonly string[], jump: Jump): boolean {
  return rules.some((rule) => rule.endsWith(`-j ${jump.to}`) && rule.includes(jump.comment));
}

/** The script that takes away everything of ours: jumps as they are listed, then the chains. */
export function removeScript(actual: ActualTables, isOurs: (chain: string) => boolean): string {
  return order
    .map((table) => {
      const script = new TableScript(table);
      const here = actual.get(table) ?? new Map<string, readonly string[]>();
      const ours = new Set([...here.keys()].filter(isOurs));
      removeJumps(here, script, ours);
      for (const chain of ours) script.remove(chain);
      return script.render();
    })
    .join("");
}

/** A chain that something still jumps to cannot be removed: other modes' jumps go as they are listed. */
function removeJumps(
  here: ReadonlyMap<string, readonly string[]>,
  script: TableScript,
  targets: ReadonlySet<string>,
): void {
  for (const [chain, rules] of here) {
    if (targets.has(chain) || script.has(chain)) continue;
    for (const rule of rules) {
      const target = / -j (\S+)/.exec(` ${rule}`)?.[1];
      if (target !== undefined && targets.has(target)) script.line(`-D ${chain} ${rule}`);
    }
  }
}

/** One table's part of a script, in the order that iptables-restore needs: chains, rules, removals. */
class TableScript {
  readonly #table: Table;
  readonly #chains = new Set<string>();
  readonly #lines: string[] = [];
  readonly #removed: string[] = [];

  constructor(table: Table) {
    this.#table = table;
  }

  has(chain: string): boolean {
    return this.#chains.has(chain);
  }

  /** Creates the chain or empties it. */
  header(chain: string): void {
    this.#chains.add(chain);
  }

  chain(chain: string, rules: readonly string[]): void {
    this.header(chain);
    for (const rule of rules) this.#lines.push(`-A ${chain} ${rule}`);
  }

  line(line: string): void {
    this.#lines.push(line);
  }

  /** Emptied first: a chain with rules, or one that such a chain jumps to, cannot be removed. */
  remove(chain: string): void {
    this.header(chain);
    this.#removed.push(chain);
  }

  render(): string {
    if (this.#chains.size === 0 && this.#lines.length === 0) return "";
    const headers = [...this.#chains].map((chain) => `:${chain} - [0:0]`);
    const removals = this.#removed.map((chain) => `-X ${chain}`);
    return [`*${this.#table}`, ...headers, ...this.#lines, ...removals, "COMMIT", ""].join("\n");
  }
}

function jumpLine(jump: Jump): string {
  const rule = `${jump.match} -j ${jump.to}`.trim();
  return jump.at === "first" ? `-I ${jump.from} 1 ${rule}` : `-A ${jump.from} ${rule}`;
}

function groupShared(rules: readonly SharedRule[]): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const { table, chain, rule } of rules) {
    const key = `${table} ${chain}`;
    const group = groups.get(key) ?? [];
    group.push(rule);
    groups.set(key, group);
  }
  return groups;
}

function sharedKey(rule: SharedRule): string {
  return `${rule.table} ${rule.chain} ${rule.rule}`;
}

function sameLines(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((line, index) => line === b[index]);
}
