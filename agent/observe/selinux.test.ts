import t from "tap";
import { seLinuxFileLabel } from "./selinux.ts";

t.test(
  "VO15: the label of containers' files is the policy's, and there is none without SELinux",
  async (t) => {
    const contexts =
      'process = "system_u:system_r:container_t:s0"\nfile = "system_u:object_r:container_file_t:s0"\n';
    const etc = {
      selinux: {
        config: "SELINUX=enforcing\nSELINUXTYPE=mls\n",
        mls: { contexts: { lxc_contexts: contexts } },
      },
    };
    const on = t.testdir({ etc, sys: { fs: { selinux: { enforce: "1" } } } });
    t.equal(await seLinuxFileLabel(on), "system_u:object_r:container_file_t:s0");
    const off = t.testdir({ etc });
    t.equal(await seLinuxFileLabel(off), undefined);
    const odd = t.testdir({ etc: {}, sys: { fs: { selinux: { enforce: "1" } } } });
    t.equal(await seLinuxFileLabel(odd), undefined, "a node that does not say has no label to mount with");
  },
);
