/** Run in a network namespace: lists its UDP flows, deletes the first to port 53, and lists again. */
import { systemConntrack } from "#linux/conntrack.ts";

const signal = AbortSignal.timeout(10_000);
const conntrack = systemConntrack();
const brief = async (): Promise<string[]> =>
  (await conntrack.udpFlows(4, signal))
    .map((flow) => `${flow.to}:${flow.toPort} ${flow.answers}:${flow.answersPort}`)
    .sort();
const before = await brief();
const flow = (await conntrack.udpFlows(4, signal)).find(({ toPort }) => toPort === 53);
if (flow === undefined) throw new Error("no flow to port 53");
const deleted = [await conntrack.delete(flow, signal), await conntrack.delete(flow, signal)];
console.log(JSON.stringify({ before, deleted, after: await brief() }));
