import { explainText } from "../plan/explain/explain-text.ts";
import { isoTimes } from "../plan/explain/iso-times.ts";
import type { PodExplanation } from "../plan/explain/pod-explanation.ts";
import { podsText } from "../plan/explain/pods-text.ts";
import { timelineSvg } from "../plan/explain/timeline-svg.ts";
import { timelineText } from "../plan/explain/timeline-text.ts";
import type { LocalDesk } from "./local-desk.ts";
import type { LocalAnswer, LocalRequest } from "./local-socket.ts";

/** The forms in which a Pod is explained. */
const forms: Readonly<Record<string, (explanation: PodExplanation) => Pick<LocalAnswer, "type" | "body">>> = {
  text: (explanation) => ({ type: "text/plain", body: explainText(explanation) }),
  json: (explanation) => ({
    type: "application/json",
    body: `${JSON.stringify(isoTimes(explanation), undefined, 2)}\n`,
  }),
  timeline: (explanation) => ({ type: "text/plain", body: timelineText(explanation) }),
  svg: (explanation) => ({ type: "image/svg+xml", body: timelineSvg(explanation) }),
};

const routes: Readonly<
  Record<
    string,
    {
      readonly method: string;
      readonly answer: (desk: LocalDesk, query: URLSearchParams) => LocalAnswer;
    }
  >
> = {
  "/v1/explain": { method: "GET", answer: explain },
  "/v1/pods": { method: "GET", answer: pods },
  "/v1/restart-now": { method: "POST", answer: restartNow },
};

/** `GET /v1/explain?pod=web&namespace=default&as=text` and `POST /v1/restart-now?pod=web&container=main`, `GET /v1/pods`. */
export function localRoutes(desk: LocalDesk): (request: LocalRequest) => LocalAnswer {
  return ({ method, path, query }) => {
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) return refuse(404, `the agent knows nothing under "${path}"`);
    if (method !== route.method) return refuse(405, `"${path}" takes ${route.method}, not ${method}`);
    return route.answer(desk, query);
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

function pods(desk: LocalDesk, query: URLSearchParams): LocalAnswer {
  // Without their starts: these are for one Pod at a time, and would make a long answer.
  const all = desk.explainAll().map((one) => ({ ...one, timeline: [] }));
  return query.get("as") === "json"
    ? { status: 200, type: "application/json", body: `${JSON.stringify(isoTimes(all), undefined, 2)}\n` }
    : { status: 200, type: "text/plain", body: podsText(all) };
}

function restartNow(desk: LocalDesk, query: URLSearchParams): LocalAnswer {
  const found = desk.find({ name: query.get("pod") ?? "", namespace: query.get("namespace") ?? undefined });
  if (!found.found) return refuse(404, found.message);
  const cut = desk.restartNow(found.uid, query.get("container") ?? undefined);
  if (cut === undefined) return refuse(404, `the Pod "${query.get("pod")}" has just gone`);
  if (!cut.found) return refuse(409, cut.message);
  return query.get("as") === "json"
    ? {
        status: 200,
        type: "application/json",
        body: `${JSON.stringify(isoTimes(cut.backOffs), undefined, 2)}\n`,
      }
    : { status: 200, type: "text/plain", body: cut.words.map((line) => `${line}\n`).join("") };
}

function refuse(status: number, message: string): LocalAnswer {
  return { status, type: "text/plain", body: `${message}\n` };
}
