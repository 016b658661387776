/** Tables the proxy writes to. */
export type Table = "filter" | "nat" | "mangle";

/** A rule in a chain that all Services share: `-A <chain> <rule>` in that table. */
export interface SharedRule {
  readonly table: Table;
  readonly chain: string;
  readonly rule: string;
}

/** What one port of one Service puts into the kernel, as a value. */
export interface OwnedRules {
  /** Chains in table nat that only this port uses, with their rules in order (without `-A <chain>`). */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Rules in shared chains; their order among each other does not matter. */
  readonly shared: readonly SharedRule[];
}

/** A rule that leads from a built-in chain (or another program's) into one of ours. */
export interface Jump {
  readonly table: Table;
  readonly from: string;
  readonly to: string;
  /** Matches and comment, without `-j`. */
  readonly match: string;
  readonly comment: string;
  /** `first`: put before everything; `last`: appended. */
  readonly at: "first" | "last";
}

/** What stands whether or not there is any Service. */
export interface BaseRules {
  /** Chains that are ours alone, with the rules that come after every shared rule. */
  readonly chains: readonly {
    readonly table: Table;
    readonly chain: string;
    readonly rules: readonly string[];
  }[];
  /** Chains we share with another program (the agent): created if missing, never flushed; rules are added if missing. */
  readonly kept: readonly {
    readonly table: Table;
    readonly chain: string;
    /** Text by which a rule is found in what the kernel lists. */
    readonly rules: readonly { readonly rule: string; readonly comment: string }[];
  }[];
  /** Each is put in front in this order, so the last of a chain ends up first. */
  readonly jumps: readonly Jump[];
}

/** Nothing at all: what a port that is gone owns. */
export const noRules: OwnedRules = { chains: new Map(), shared: [] };
