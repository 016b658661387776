/** What a request counts as in `kubelet_http_requests_total`. */
export interface RequestLabels {
  readonly method: string;
  readonly path: string;
  readonly server_type: "readwrite" | "readonly";
  readonly long_running: "true" | "false";
}

const methods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);
const paths: ReadonlySet<string> = new Set(
  "attach configz containerLogs exec flagz healthz logs metrics metrics/resource pods portForward run runningpods stats statusz".split(
    " ",
  ),
);
const longRunning: ReadonlySet<string> = new Set(["attach", "exec", "portForward"]);

/** Few values, whatever is asked for: what is not served is `other`, so that no client can make series without end. */
export function requestLabels(
  method: string,
  pathname: string,
  server: RequestLabels["server_type"],
): RequestLabels {
  const [, first = "", second = ""] = pathname.split("/");
  const path = first === "metrics" && second !== "" ? `metrics/${second}` : first;
  return {
    method: methods.has(method) ? method : "other",
    path: paths.has(path) ? path : "other",
    server_type: server,
    long_running: longRunning.has(path) ? "true" : "false",
  };
}
