import { explainText } from "../plan/explain/explain-text.ts";
import { isoTimes } from "../plan/explain/iso-times.ts";
import type { PodExplanation } from "../plan/explain/pod-explanation.ts";
import type { LocalDesk } from "./local-desk.ts";
import type { LocalAnswer, LocalRequest } from "./local-socket.ts";

/** The forms in which a Pod is explained. */
const forms: Readonly<Record<string, (explanation: PodExplanation) => Pick<LocalAnswer, "type" | "body">>> = {
  text: (explanation) => ({ type: "text/plain", body: explainText(explanation) }),
  json: (explanation) => ({
    type: "application/json",
    body: `${JSON.stringify(isoTimes(explanation), undefined, 2)}\n`,
  }),
};

/** What the local socket answers: `GET /v1/explain?pod=web&namespace=default&as=text`. */
export function localRoutes(desk: LocalDesk): (request: LocalRequest) => LocalAnswer {
  return ({ method, path, query }) => {
    if (path !== "/v1/explain") return refuse(404, `the agent knows nothing under "${path}"`);
    if (method !== "GET") return refuse(405, `"${path}" takes GET, not ${method}`);
    return explain(desk, query);
  };
}

function explain(desk: LocalDesk, query: URLSearchParams): LocalAnswer {
  const as = query.get("as") ?? "text";
  const form = Object.hasOwn(forms, as) ? forms[as] : undefined;
  if (form === undefined)
    return refuse(400, `cannot explain a Pod as "${as}": want ${Object.keys(forms).join(", ")}`);
  const found = desk.find({ name: query.get("pod") ?? "", namespace: query.get("namespace") ?? undefined });
  if (!found.found) return refuse(404, found.message);
  const explanation = desk.explain(found.uid);
  if (explanation === undefined) return refuse(404, `the Pod "${query.get("pod")}" has just gone`);
  return { status: 200, ...form(explanation) };
}

function refuse(status: number, message: string): LocalAnswer {
  return { status, type: "text/plain", body: `${message}\n` };
}
