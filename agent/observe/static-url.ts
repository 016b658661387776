import { errorText } from "#lib/log.ts";
import { loadManifests } from "./load-manifests.ts";
import type { StaticPodPorts } from "./static-pods.ts";

/** Largest answer that is read, in bytes. */
const maxAnswerBytes = 10 * 1024 * 1024;
/** How long the server may take, in milliseconds. */
const answerMs = 10_000;

/** Where manifests are served, and with what headers they are asked for. */
export interface StaticUrl {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Asks for the manifest behind the URL, a Pod or a PodList, at once and then every `everyMs` until the signal. An
 * answer that cannot be used, or none, changes nothing: what was served last goes on.
 */
export async function followStaticUrl(
  source: StaticUrl,
  everyMs: number,
  ports: StaticPodPorts,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log, nodeName } = ports;
  const shown = withoutSecrets(source.url);
  let before: string | undefined;
  let said = "";
  while (!signal.aborted) {
    try {
      const answer = await read(source, signal);
      if (answer !== before) {
        const { podsOfManifest } = await loadManifests();
        ports.changed(podsOfManifest(answer, { kind: "http", place: shown }, nodeName, clock.now()));
        before = answer;
      }
      said = "";
    } catch (cause) {
      if (signal.aborted) return;
      const why = errorText(cause);
      if (why !== said) log.warn("cannot read static pods", { url: shown, cause: why });
      said = why;
    }
    await clock.sleep(everyMs, signal).catch(() => undefined);
  }
}

async function read({ url, headers }: StaticUrl, signal: AbortSignal): Promise<string> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
  const response = await fetch(url, { headers, signal: within });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`cannot use it: it answered ${response.status}`);
  }
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > maxAnswerBytes) throw new Error(`cannot use it: it is larger than ${maxAnswerBytes} bytes`);
    parts.push(part);
  }
  if (bytes === 0) throw new Error("cannot use it: the answer is empty");
  return Buffer.concat(parts).toString("utf8");
}

/** A query or a user in the URL may be a password. */
function withoutSecrets(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
