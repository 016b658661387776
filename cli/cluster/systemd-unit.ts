import type { ServiceSpec } from "./services.ts";

/** A unit file for one process of the standalone cluster. Pure. */
export function renderUnit(service: ServiceSpec): string {
  const after = ["network-online.target", ...service.after.map((name) => `keelson-${name}.service`)].join(
    " ",
  );
  return `[Unit]
Description=${service.description}
Documentation=man:keelson(8)
After=${after}
Wants=network-online.target
# A machine may start with its runtime still loading images: keep trying, for ever.
StartLimitIntervalSec=0

[Service]
ExecStart=${service.command.map(quote).join(" ")}
Restart=always
RestartSec=1
# Only our own process is stopped. Containers and their shims live in the same cgroup tree and must go on.
KillMode=process
Delegate=yes
OOMScoreAdjust=-999
LimitNOFILE=1048576
TasksMax=infinity

[Install]
WantedBy=multi-user.target
`;
}

/** systemd.service(5), "Command lines": quotes around what has blanks, `%` and `$` doubled. */
function quote(word: string): string {
  const escaped = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /[\s"'\\;]/.test(escaped) ? JSON.stringify(escaped) : escaped;
}
