/** One chain as `iptables-save` prints it. */
export interface SavedChain {
  /** `ACCEPT` or `DROP` for a built-in chain, `-` for one that a program made. */
  readonly policy: string;
  /** Without `-A <chain> `, in order. */
  readonly rules: readonly string[];
}

/** Chain name -> chain, of one table. */
export type SavedTable = ReadonlyMap<string, SavedChain>;

/** Reads what `iptables-save` prints: table name -> its chains. Lines it does not know are skipped. */
export function parseSave(text: string): ReadonlyMap<string, SavedTable> {
  const tables = new Map<string, Map<string, { policy: string; rules: string[] }>>();
  let table: Map<string, { policy: string; rules: string[] }> | undefined;
  for (const raw of text.split("\n")) {
    const line = raw.replace(/^\[\d+:\d+\] /, "");
    if (line.startsWith("*")) {
      table = new Map();
      tables.set(line.slice(1).trim(), table);
    } else if (line.startsWith(":")) {
      const [name = "", policy = "-"] = line.slice(1).split(" ");
      table?.set(name, { policy, rules: [] });
    } else if (line.startsWith("-A ")) {
      const space = line.indexOf(" ", 3);
      const name = space < 0 ? line.slice(3) : line.slice(3, space);
      table?.get(name)?.rules.push(space < 0 ? "" : line.slice(space + 1));
    }
  }
  return tables;
}
