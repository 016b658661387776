import type { SecureContextOptions } from "node:tls";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";

/** How often files are read again; they are replaced whole, also behind links, which no watch tells for sure. */
const everyMs = 10_000;

/** What a server presents, and whose certificates it believes. */
export type Identity = Pick<SecureContextOptions, "cert" | "key" | "ca">;

/**
 * Gives a server what stands in its files now, until the signal: certificates are renewed and authorities changed
 * while it runs. What cannot be read, or is no certificate, changes nothing: what was good is kept.
 * @param read all of the files.
 * @param apply throws for what is no certificate.
 */
export async function followCertificates(
  first: Identity,
  read: () => Promise<Identity>,
  apply: (identity: Identity) => void,
  ports: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  let last = JSON.stringify(first);
  while (!signal.aborted) {
    await ports.clock.sleep(everyMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    try {
      const now = await read();
      const text = JSON.stringify(now);
      if (text === last) continue;
      last = text;
      apply(now);
      ports.log.info("has read its certificates anew");
    } catch (cause) {
      ports.log.warn("cannot read certificates anew", { cause: errorText(cause) });
    }
  }
}
