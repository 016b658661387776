import { type Iptables, IptablesError } from "#linux/iptables.ts";
import { isProxyChain } from "../../plan/own-chains.ts";
import { type BaseRules, noRules, type OwnedRules, type Table } from "../../plan/owned-rules.ts";
import { type ActualTables, diffScript, fullScript, hasJump, removeScript } from "../../plan/rule-script.ts";

const tables: readonly Table[] = ["mangle", "filter", "nat"];

/** What one write did. */
export interface WriteReport {
  /** `nothing`: the kernel has it already; `part`: the difference; `full`: everything, read and compared first. */
  readonly kind: "nothing" | "part" | "full";
  /** Lines given to iptables-restore. */
  readonly lines: number;
}

/**
 * Keeps the proxy's rules in the kernel as they were last asked for. What was written is remembered, so a change
 * costs one iptables-restore with that change in it; tables are listed only at the start, after a failure, and
 * when something of ours was found missing.
 */
export class RuleWriter {
  readonly #iptables: Iptables;
  readonly #base: BaseRules;
  readonly #applied = new Map<string, OwnedRules>();
  /** False until a full write succeeded: then memory and kernel are one. */
  #certain = false;

  constructor(iptables: Iptables, base: BaseRules) {
    this.#iptables = iptables;
    this.#base = base;
  }

  /** Rules of all ports, by port. */
  get applied(): ReadonlyMap<string, OwnedRules> {
    return this.#applied;
  }

  /** The next write reads the kernel and writes everything. */
  forget(): void {
    this.#certain = false;
  }

  /**
   * @param changes port key -> its rules now; undefined when the port is gone.
   * @throws {IptablesError} when the kernel refused; the next write is a full one.
   */
  async write(
    changes: ReadonlyMap<string, OwnedRules | undefined>,
    signal: AbortSignal,
  ): Promise<WriteReport> {
    if (this.#certain) {
      try {
        return await this.#writePart(changes, signal);
      } catch (cause) {
        // Something took a rule of ours away: a rule to delete or a chain to jump to is not there.
        if (!(cause instanceof IptablesError) || cause.code !== "refused") throw cause;
      }
    }
    return this.#writeFull(changes, signal);
  }

  /**
   * Looks for what another program's flush takes: our jumps and canaries.
   * @returns what is missing, in words; undefined when all is there.
   */
  async missing(signal: AbortSignal): Promise<string | undefined> {
    if (!this.#certain) return undefined;
    const listed = new Map<string, readonly string[]>();
    for (const jump of this.#base.jumps) {
      const key = `${jump.table} ${jump.from}`;
      const rules = listed.get(key) ?? (await this.#iptables.listChain(jump.table, jump.from, signal)) ?? [];
      listed.set(key, rules);
      if (!hasJump(rules, jump)) return `the jump from ${jump.from} to ${jump.to} in table ${jump.table}`;
    }
    for (const { table, chain } of this.#base.chains) {
      if (!chain.endsWith("-CANARY")) continue;
      if ((await this.#iptables.listChain(table, chain, signal)) === undefined) {
        return `chain ${chain} in table ${table}`;
      }
    }
    return undefined;
  }

  async #writePart(
    changes: ReadonlyMap<string, OwnedRules | undefined>,
    signal: AbortSignal,
  ): Promise<WriteReport> {
    const pairs = [...changes].map(([key, after]) => ({
      before: this.#applied.get(key) ?? noRules,
      after: after ?? noRules,
    }));
    const script = diffScript(pairs);
    if (script === "") {
      this.#remember(changes);
      return { kind: "nothing", lines: 0 };
    }
    // From here on the kernel may have a part of it: tables are committed one by one.
    this.#certain = false;
    await this.#iptables.restore(script, signal);
    this.#certain = true;
    this.#remember(changes);
    return { kind: "part", lines: countLines(script) };
  }

  async #writeFull(
    changes: ReadonlyMap<string, OwnedRules | undefined>,
    signal: AbortSignal,
  ): Promise<WriteReport> {
    this.#certain = false;
    this.#remember(changes);
    const actual = await readTables(this.#iptables, signal);
    const script = fullScript(this.#base, this.#applied.values(), actual, isProxyChain);
    await this.#iptables.restore(script, signal);
    this.#certain = true;
    return { kind: "full", lines: countLines(script) };
  }

  #remember(changes: ReadonlyMap<string, OwnedRules | undefined>): void {
    for (const [key, rules] of changes) {
      if (rules === undefined) this.#applied.delete(key);
      else this.#applied.set(key, rules);
    }
  }
}

/** Takes away every rule and chain that any mode of a service proxy made. */
export async function removeAllRules(iptables: Iptables, signal: AbortSignal): Promise<void> {
  const script = removeScript(await readTables(iptables, signal), isProxyChain);
  if (script !== "") await iptables.restore(script, signal);
}

async function readTables(iptables: Iptables, signal: AbortSignal): Promise<ActualTables> {
  const actual = new Map<Table, Map<string, readonly string[]>>();
  for (const table of tables) {
    const saved = await iptables.save(table, signal);
    actual.set(table, new Map([...saved].map(([name, chain]) => [name, chain.rules])));
  }
  return actual;
}

function countLines(script: string): number {
  return script.split("\n").length - 1;
}
