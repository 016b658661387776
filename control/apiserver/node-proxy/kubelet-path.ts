/** What the API calls a parameter and what the node's server calls it. */
const execNames: readonly (readonly [api: string, node: string])[] = [
  ["stdin", "input"],
  ["stdout", "output"],
  ["stderr", "error"],
  ["tty", "tty"],
];

const logParameters = [
  "follow",
  "previous",
  "sinceSeconds",
  "sinceTime",
  "timestamps",
  "tailLines",
  "limitBytes",
  "stream",
];

/** Which container of which pod. */
export interface ContainerPlace {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

/** `/exec/<ns>/<pod>/<container>?command=ls&input=1&...`; the same for attach, without commands. */
export function execPath(what: "exec" | "attach", place: ContainerPlace, query: URLSearchParams): string {
  const wanted = new URLSearchParams();
  if (what === "exec") for (const word of query.getAll("command")) wanted.append("command", word);
  for (const [api, node] of execNames) {
    const value = query.get(api);
    if (value === "true" || value === "1") wanted.set(node, "1");
  }
  return `/${what}/${segments(place.namespace, place.pod, place.container)}?${wanted.toString()}`;
}

/** `/portForward/<ns>/<pod>?port=80` */
export function portForwardPath(namespace: string, pod: string, query: URLSearchParams): string {
  const ports = query.getAll("ports").flatMap((list) => list.split(","));
  const wanted = new URLSearchParams();
  for (const port of ports) if (port !== "") wanted.append("port", port);
  return `/portForward/${segments(namespace, pod)}${wanted.size === 0 ? "" : `?${wanted.toString()}`}`;
}

/** `/containerLogs/<ns>/<pod>/<container>?follow=true&...` */
export function logPath(place: ContainerPlace, query: URLSearchParams): string {
  const wanted = new URLSearchParams();
  for (const name of logParameters) {
    const value = query.get(name);
    if (value !== null && value !== "") wanted.set(name, value);
  }
  const path = `/containerLogs/${segments(place.namespace, place.pod, place.container)}`;
  return wanted.size === 0 ? path : `${path}?${wanted.toString()}`;
}

function segments(...names: readonly string[]): string {
  return names.map(encodeURIComponent).join("/");
}
