import t from "tap";
import { recursiveReadOnly } from "./recursive-read-only.ts";

const mount = { name: "v", mountPath: "/v", readOnly: true };

t.test("VO12: a mount is read-only with what is below it where asked and possible", async (t) => {
  const cases = [
    { mode: undefined, supported: true, is: false },
    { mode: "Disabled", supported: true, is: false },
    { mode: "IfPossible", supported: false, is: false },
    { mode: "IfPossible", supported: true, is: true },
    { mode: "Enabled", supported: true, is: true },
  ];
  for (const { mode, supported, is } of cases) {
    const asked = mode === undefined ? mount : { ...mount, recursiveReadOnly: mode };
    t.equal(recursiveReadOnly(asked, supported), is, `${mode} ${supported}`);
  }
});

t.test("VO12: what cannot be had is refused in the kubelet's words", async (t) => {
  const asked = 'volume "v" requested recursive read-only mode, but it is';
  const enabled = { ...mount, recursiveReadOnly: "Enabled" };
  t.throws(() => recursiveReadOnly(enabled, false), { message: `${asked} not supported by the runtime` });
  t.throws(() => recursiveReadOnly({ ...enabled, readOnly: false }, true), {
    message: `${asked} not read-only`,
  });
  t.throws(() => recursiveReadOnly({ ...enabled, mountPropagation: "HostToContainer" }, true), {
    message: `${asked} not compatible with propagation "HostToContainer"`,
  });
  t.throws(() => recursiveReadOnly({ ...mount, recursiveReadOnly: "Perhaps" }, true), {
    message: 'unknown recursive read-only mode "Perhaps"',
  });
});
